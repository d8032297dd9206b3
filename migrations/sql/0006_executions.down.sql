DROP TABLE execution_history;
DROP TABLE execution_attempts;
DROP TABLE plan_executions;

DROP INDEX plan_executions_cancelling;
ALTER TABLE plan_executions DROP COLUMN must_cancel;

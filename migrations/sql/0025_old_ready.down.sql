DROP INDEX ready_execution;

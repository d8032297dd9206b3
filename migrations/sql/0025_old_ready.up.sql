-- Finds rows of the queue whose executions are older than the history.
CREATE INDEX ready_execution ON ready (execution_id);

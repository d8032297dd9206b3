-- Executions for which an upstream runs a job. To cancel one, an executor first cancels the job;
-- the execution does not end at once.
ALTER TABLE plan_executions ADD COLUMN must_cancel boolean NOT NULL DEFAULT false;
-- For the loop that ends executions whose cancel was not carried out in time.
CREATE INDEX plan_executions_cancelling ON plan_executions (cancel_requested_at)
    WHERE cancel_requested_at IS NOT NULL AND state IN ('queued', 'running');

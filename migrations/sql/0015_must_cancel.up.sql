-- Runs whose upstream works for them: a cancel tells it first, by an executor, instead of ending the run at once.
ALTER TABLE plan_executions ADD COLUMN must_cancel boolean NOT NULL DEFAULT false;
-- What the loop looks through that ends cancels which nobody carried out in time.
CREATE INDEX plan_executions_cancelling ON plan_executions (cancel_requested_at)
    WHERE cancel_requested_at IS NOT NULL AND state IN ('queued', 'running');

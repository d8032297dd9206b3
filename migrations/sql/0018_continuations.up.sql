-- The execution that ended at a limit of its plan, and that the next one of the plan and config
-- continues; with the revision that its checkpoint belongs to.
ALTER TABLE schedules ADD COLUMN limited_execution_id uuid;
ALTER TABLE schedules ADD COLUMN limited_revision integer;
-- The execution that this one would have continued, had the plan not changed in between.
ALTER TABLE plan_executions ADD COLUMN dropped_execution_id uuid;

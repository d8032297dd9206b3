ALTER TABLE plan_executions DROP COLUMN dropped_execution_id;
ALTER TABLE schedules DROP COLUMN limited_revision;
ALTER TABLE schedules DROP COLUMN limited_execution_id;

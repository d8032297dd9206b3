-- Plain names for columns whose names had to be explained.

-- The active execution of a plan and config: the one that may save progress now.
ALTER TABLE schedules RENAME COLUMN going_execution_id TO active_execution_id;
ALTER INDEX schedules_going RENAME TO schedules_active;

-- Whether an upstream works for the execution, so that a cancel has to tell it.
ALTER TABLE plan_executions RENAME COLUMN must_cancel TO needs_upstream_cancel;

ALTER TABLE executor_sessions RENAME COLUMN beat_at TO heartbeat_at;
ALTER TABLE executor_sessions RENAME COLUMN beat_seq TO heartbeat_seq;
-- Acquire calls up to this number are answered or given up.
ALTER TABLE executor_sessions RENAME COLUMN answered_acquire_seq TO resolved_acquire_seq;

-- Where the execution is, as far as Kafka acknowledged it, and the values of its finished steps.
ALTER TABLE checkpoints RENAME COLUMN place TO resume_state;
ALTER TABLE checkpoints RENAME COLUMN finished TO finished_steps;

-- The last run of each background loop, on any replica.
ALTER TABLE loop_passes RENAME TO loop_runs;
ALTER TABLE loop_runs RENAME CONSTRAINT loop_passes_pkey TO loop_runs_pkey;
ALTER TABLE loop_runs RENAME COLUMN passed_at TO ran_at;

ALTER TABLE loop_runs RENAME COLUMN ran_at TO passed_at;
ALTER TABLE loop_runs RENAME CONSTRAINT loop_runs_pkey TO loop_passes_pkey;
ALTER TABLE loop_runs RENAME TO loop_passes;

ALTER TABLE checkpoints RENAME COLUMN finished_steps TO finished;
ALTER TABLE checkpoints RENAME COLUMN resume_state TO place;

ALTER TABLE executor_sessions RENAME COLUMN resolved_acquire_seq TO answered_acquire_seq;
ALTER TABLE executor_sessions RENAME COLUMN heartbeat_seq TO beat_seq;
ALTER TABLE executor_sessions RENAME COLUMN heartbeat_at TO beat_at;

ALTER TABLE plan_executions RENAME COLUMN needs_upstream_cancel TO must_cancel;

ALTER INDEX schedules_active RENAME TO schedules_going;
ALTER TABLE schedules RENAME COLUMN active_execution_id TO going_execution_id;

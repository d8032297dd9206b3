-- Indexes and columns that keep the cost of each statement independent of how much is stored.

SET LOCAL citus.multi_shard_modify_mode = 'sequential';

-- Lists of one plan, and of one state: what ended well is most of the history and needs no entry.
CREATE INDEX plan_executions_of_plan ON plan_executions (tenant_id, plan_id, id);
CREATE INDEX plan_executions_by_state ON plan_executions (tenant_id, state, id) WHERE state <> 'succeeded';
DROP INDEX plan_executions_running;
-- The oldest pending execution of a schedule, and the schedules that have any.
CREATE INDEX plan_executions_pending ON plan_executions (tenant_id, plan_id, config_id, created_at, id)
    WHERE state = 'pending';
-- Those that wait longest, among which some may have lost their schedule.
CREATE INDEX plan_executions_waiting ON plan_executions (updated_at, id) WHERE state = 'pending';

-- The schedules of one plan, in the order of lists.
CREATE INDEX schedules_of_plan ON schedules (tenant_id, plan_id, id);
-- What the reconciler looks through: schedules held by an execution, and those that nothing moves.
CREATE INDEX schedules_held ON schedules (tenant_id, plan_id, config_id)
    WHERE active_execution_id IS NOT NULL OR current_execution_id IS NOT NULL;
CREATE INDEX schedules_idle ON schedules (tenant_id, plan_id, config_id)
    WHERE next_due_at IS NULL AND current_execution_id IS NULL AND NOT paused;
DROP INDEX schedules_active;

-- Lists of one integration.
CREATE INDEX configs_of_integration ON configs (tenant_id, integration_id, id);
CREATE INDEX plans_of_integration ON plans (tenant_id, integration_id, id);
DROP INDEX plans_by_integration;

-- A config is deleted with what belongs to it.
CREATE INDEX plan_contexts_by_config ON plan_contexts (tenant_id, config_id);
CREATE INDEX cursors_by_config ON cursors (tenant_id, config_id);

-- What retention deletes.
CREATE INDEX announcements_by_time ON announcements (created_at);
CREATE INDEX checkpoints_by_execution ON checkpoints (execution_id);
-- Heartbeats change no column of these, so they stay updates in place.
CREATE INDEX executor_sessions_live ON executor_sessions (id) WHERE ended_at IS NULL;
CREATE INDEX executor_sessions_ended ON executor_sessions (ended_at) WHERE ended_at IS NOT NULL;

-- The running time that a revision allows, so that no loop reads definitions; null: the default.
ALTER TABLE plan_revisions ADD COLUMN max_execution_seconds bigint;
-- An owner whom row security binds would update no row, and silently. This turns it into an error.
SET LOCAL row_security = off;
UPDATE plan_revisions SET max_execution_seconds = (definition ->> 'max_execution_seconds')::numeric::bigint
    WHERE definition ? 'max_execution_seconds';
SET LOCAL row_security = on;
-- When the server ends an attempt by itself; null for attempts that an older server granted.
ALTER TABLE leases ADD COLUMN ends_at timestamptz;
CREATE INDEX leases_by_end ON leases (ends_at);

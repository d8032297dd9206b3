-- History: partitioned by id, which is a uuid v7 and so a time, and dropped whole. No foreign key
-- points here.
CREATE TABLE plan_executions (
    tenant_id              uuid NOT NULL,
    id                     uuid NOT NULL,
    plan_id                uuid NOT NULL,
    plan_key               text NOT NULL,
    plan_revision          integer NOT NULL,
    integration_key        text NOT NULL,
    config_id              uuid NOT NULL,
    config_key             text NOT NULL,
    kind                   text NOT NULL CHECK (kind IN ('run', 'preview', 'test')),
    origin                 text NOT NULL CHECK (origin IN ('schedule', 'trigger', 'retry', 'replay')),
    -- Whether the run saves context and cursors; one that does not waits behind none.
    persists               boolean NOT NULL,
    -- A trigger's values over the context, as it gave them, and whether the run's writes are saved
    -- all the same.
    context_override       bytea,
    persist_context        boolean NOT NULL,
    state                  text NOT NULL CHECK (state IN ('pending', 'queued', 'running', 'parked', 'blocked',
                               'succeeded', 'failed', 'aborted', 'cancelled', 'dead_lettered')),
    -- While blocked: by which limit. While parked: why.
    waiting_for            text,
    not_before             timestamptz,
    partial                boolean NOT NULL DEFAULT false,
    complete               boolean NOT NULL DEFAULT false,
    -- The newest attempt, its fence and lease.
    attempt                integer NOT NULL DEFAULT 0,
    fence                  bigint NOT NULL DEFAULT 0,
    lease_id               uuid,
    -- Attempts lost since the last accepted checkpoint.
    losses                 integer NOT NULL DEFAULT 0,
    priority               smallint NOT NULL,
    scheduled_at           timestamptz NOT NULL,
    created_at             timestamptz NOT NULL,
    started_at             timestamptz,
    ended_at               timestamptz,
    cancel_requested_at    timestamptz,
    cancel_reason          text,
    -- How long it ran, over all attempts that ended; parked time does not count.
    ran_ms                 bigint NOT NULL DEFAULT 0,
    -- How long the attempt that has it runs, as of its last accepted checkpoint.
    attempt_ran_ms         bigint NOT NULL DEFAULT 0,
    -- Seq of the last accepted checkpoint; here too, so that one row's lock orders everything about
    -- a run.
    checkpoint_seq         bigint NOT NULL DEFAULT 0,
    -- The run whose checkpoint this one begins at.
    continues_execution_id uuid,
    -- W3C trace context of what made it.
    traceparent            text,
    -- What it did so far: an encoded orchid.executor.v1.RunProgress.
    progress               bytea,
    -- Why it ended: an encoded orchid.executor.v1.RunFault. Bytes: it may quote an upstream.
    error                  bytea,
    -- Rises with every change: what a watcher compares.
    version                bigint NOT NULL DEFAULT 1,
    updated_at             timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX plan_executions_by_plan ON plan_executions (tenant_id, plan_id, config_id, id);
CREATE INDEX plan_executions_open ON plan_executions (tenant_id, plan_id, config_id)
    WHERE state IN ('pending', 'queued', 'running', 'parked', 'blocked');
-- What the loops that end old runs look through.
CREATE INDEX plan_executions_running ON plan_executions (state, updated_at)
    WHERE state IN ('running', 'parked', 'blocked', 'queued', 'pending');

-- One row a grant.
CREATE TABLE execution_attempts (
    tenant_id    uuid NOT NULL,
    execution_id uuid NOT NULL,
    attempt      integer NOT NULL,
    fence        bigint NOT NULL,
    lease_id     uuid NOT NULL,
    session_id   uuid NOT NULL,
    executor     text NOT NULL,
    granted_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    -- Null while it runs.
    verdict      text CHECK (verdict IN ('completed', 'parked', 'drained', 'lost_heartbeat', 'self_fenced', 'never_started',
                     'cancelled', 'poison', 'expired')),
    final_seq    bigint NOT NULL DEFAULT 0,
    last_request text,
    PRIMARY KEY (tenant_id, execution_id, attempt)
) PARTITION BY RANGE (execution_id);

-- One row a transition.
CREATE TABLE execution_history (
    tenant_id    uuid NOT NULL,
    execution_id uuid NOT NULL,
    id           uuid NOT NULL,
    at           timestamptz NOT NULL,
    state        text NOT NULL,
    attempt      integer NOT NULL,
    cause        text NOT NULL,
    detail       text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, execution_id, id)
) PARTITION BY RANGE (execution_id);

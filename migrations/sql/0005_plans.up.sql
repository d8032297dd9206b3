CREATE TABLE plans (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    integration_id uuid NOT NULL,
    key            text NOT NULL,
    name           text NOT NULL,
    description    text NOT NULL,
    enabled        boolean NOT NULL,
    -- Keys of the configs that it runs for, as a list; null: all of the integration's.
    configs        jsonb,
    wait_seconds   integer NOT NULL CHECK (wait_seconds >= 1),
    overlap        text NOT NULL CHECK (overlap IN ('skip', 'queue')),
    repeat_count   integer CHECK (repeat_count >= 1),
    priority       smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
    -- Number of the newest revision.
    revision       integer NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key)
);
CREATE INDEX plans_by_integration ON plans (tenant_id, integration_id);

CREATE TABLE plan_revisions (
    tenant_id       uuid NOT NULL,
    plan_id         uuid NOT NULL,
    revision        integer NOT NULL,
    definition      jsonb NOT NULL,
    -- SHA-256 of the definition's canonical JSON.
    definition_hash bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, plan_id, revision)
);

-- One row per plan and config that it runs for, made and removed with them, whether or not the plan
-- is enabled. The row is also the lock under which the one run that saves progress is chosen.
CREATE TABLE schedules (
    tenant_id            uuid NOT NULL,
    plan_id              uuid NOT NULL,
    config_id            uuid NOT NULL,
    -- uuid v7, for listing.
    id                   uuid NOT NULL,
    paused               boolean NOT NULL DEFAULT false,
    -- Null: nothing is due (disabled, paused, ended, or its scheduled run is going).
    next_due_at          timestamptz,
    -- The scheduled run that is going.
    current_execution_id uuid,
    -- The run that may save progress now, whatever its origin; others of the plan and config wait
    -- behind it.
    going_execution_id   uuid,
    last_execution_id    uuid,
    run_count            integer NOT NULL DEFAULT 0,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, plan_id, config_id),
    UNIQUE (tenant_id, id)
);
CREATE INDEX schedules_due ON schedules (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX schedules_going ON schedules (tenant_id, going_execution_id) WHERE going_execution_id IS NOT NULL;
CREATE INDEX schedules_by_config ON schedules (tenant_id, config_id);

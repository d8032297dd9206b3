-- Where a run is, in two parts: the place, which changes with every page, and the values of
-- finished steps, which seldom do. Bytes throughout: jsonb refuses \u0000 and changes numbers.
CREATE TABLE checkpoints (
    tenant_id    uuid NOT NULL,
    execution_id uuid NOT NULL,
    seq          bigint NOT NULL,
    fence        bigint NOT NULL,
    place        bytea NOT NULL,
    finished     bytea,
    -- Context writes of a run that saves none: name → JSON text, as one JSON object.
    own_context  bytea,
    progress     bytea NOT NULL,
    saved_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, execution_id)
);

-- Values that outlive a run, one row a field.
CREATE TABLE plan_contexts (
    tenant_id    uuid NOT NULL,
    plan_id      uuid NOT NULL,
    config_id    uuid NOT NULL,
    name         text NOT NULL,
    value        bytea NOT NULL,
    -- The run that wrote it last.
    execution_id uuid NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, plan_id, config_id, name)
);

-- Terminal events that are committed and must reach Kafka; deleted when an executor confirms.
CREATE TABLE announcements (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    execution_id uuid NOT NULL,
    pool         text NOT NULL,
    message_key  text NOT NULL,
    headers      jsonb NOT NULL,
    payload      bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    -- When it was last handed to an executor.
    handed_at    timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX announcements_by_age ON announcements (pool, handed_at, created_at);

-- Answers to calls that carried a request_id, for 24 hours.
CREATE TABLE request_log (
    tenant_id  uuid NOT NULL,
    request_id uuid NOT NULL,
    method     text NOT NULL,
    body_hash  bytea NOT NULL,
    response   bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX request_log_by_age ON request_log (created_at);

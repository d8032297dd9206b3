-- What waits to be run: outbox and queue in one. Inserted with the execution, or when its turn
-- comes; deleted by the grant.
CREATE TABLE ready (
    tenant_id    uuid NOT NULL,
    execution_id uuid NOT NULL,
    -- The tenant's pool, copied so that finding work reads one table.
    pool         text NOT NULL,
    priority     smallint NOT NULL,
    -- Orders what is equal: milliseconds since 1970 of when it became ready.
    seq          bigint NOT NULL,
    not_before   timestamptz,
    -- When the doorbell last rang for it, and how often.
    rung_at      timestamptz,
    rings        integer NOT NULL DEFAULT 0,
    -- Attempts lost so far: no executor shall hold two runs that were lost twice.
    losses       integer NOT NULL DEFAULT 0,
    -- W3C trace context of what made the run, for the doorbell.
    traceparent  text,
    PRIMARY KEY (tenant_id, execution_id)
);
CREATE INDEX ready_by_pool ON ready (pool, tenant_id, priority DESC, seq);

-- Who runs what. Holds no expiry: a lease ends with its session.
CREATE TABLE leases (
    tenant_id    uuid NOT NULL,
    execution_id uuid NOT NULL,
    lease_id     uuid NOT NULL,
    session_id   uuid NOT NULL,
    attempt      integer NOT NULL,
    fence        bigint NOT NULL,
    -- The acquire call of the session that was granted it.
    acquire_seq  bigint NOT NULL,
    -- A heartbeat has listed it: its executor knows of it.
    confirmed    boolean NOT NULL DEFAULT false,
    -- Attempts of the run that were lost before this one: no executor shall hold two runs that were
    -- lost twice.
    losses       integer NOT NULL DEFAULT 0,
    granted_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, execution_id)
);
CREATE INDEX leases_by_session ON leases (session_id);

-- Registered executors; on the coordinator of a Citus cluster, with no foreign key in or out. A
-- beat changes one row and no index, in place.
CREATE TABLE executor_sessions (
    id                   uuid PRIMARY KEY,
    name                 text NOT NULL,
    pool                 text NOT NULL,
    slots                integer NOT NULL,
    build                text NOT NULL,
    started_at           timestamptz NOT NULL,
    beat_at              timestamptz NOT NULL,
    beat_seq             bigint NOT NULL DEFAULT 0,
    -- The time to live that the last beat was promised.
    ttl_ms               bigint NOT NULL,
    answered_acquire_seq bigint NOT NULL DEFAULT 0,
    free_slots           integer NOT NULL,
    draining             boolean NOT NULL DEFAULT false,
    -- What each lease last requested, by lease id: for the dead letter of a run that takes its
    -- executor along.
    last_requests        jsonb NOT NULL DEFAULT '{}',
    ended_at             timestamptz,
    -- `expired` or `left`.
    end_cause            text
) WITH (fillfactor = 50);

-- When each loop last went round, on any replica: tells an outage from dead executors.
CREATE TABLE loop_passes (
    name           text PRIMARY KEY,
    passed_at      timestamptz NOT NULL,
    -- Nothing expires before this time.
    grace_until    timestamptz
);

-- The running replicas of the control plane, with the master keys that each can open. A replica
-- seals with a key only while all others can open it. Like executor_sessions, the table has no
-- tenant.
CREATE TABLE control_plane_replicas (
    id      uuid PRIMARY KEY,
    build   text NOT NULL,
    key_ids text[] NOT NULL,
    seen_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON control_plane_replicas TO orchid_fleet;
-- Data keys are wrapped again when the master key changes.
GRANT UPDATE (data_key, data_key_id) ON tenants TO orchid_fleet;
CREATE INDEX tenants_data_key ON tenants (data_key_id);

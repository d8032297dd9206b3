CREATE TABLE tenants (
    id           uuid PRIMARY KEY,
    display_name text NOT NULL,
    pool         text NOT NULL DEFAULT 'default',
    weight       integer NOT NULL DEFAULT 100 CHECK (weight BETWEEN 1 AND 1000),
    -- The tenant's data key, wrapped by the master key that data_key_id names.
    data_key     bytea NOT NULL,
    data_key_id  text NOT NULL,
    created_at   timestamptz NOT NULL
);

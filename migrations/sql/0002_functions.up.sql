-- Whose rows a transaction may see. A plpgsql function with SET LOCAL, in a statement of its own:
-- set_config(…, true) would not reach the workers of a Citus cluster.
CREATE FUNCTION set_tenant(tenant uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL orchid.tenant_id = %L', tenant);
END
$$;

-- Tenants whose rows can be claimed together, in one statement: on plain Postgres all of them. The
-- distribution step replaces it on Citus, where a group is a shard.
CREATE FUNCTION placement_group(tenant uuid) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 0 $$;

-- The least uuid v7 of a time: its first 48 bits are milliseconds since 1970 (RFC 9562, 5.7).
CREATE FUNCTION uuid_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

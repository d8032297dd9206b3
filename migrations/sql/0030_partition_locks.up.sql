-- Partitions are made and dropped one at a time, each in a transaction of its own, and no statement
-- waits long for a lock: whoever waits for one on a parent table holds up all who come after it.

-- Name of the partition of a table for the week that begins at a time.
CREATE FUNCTION history_partition_name(parent text, week timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT parent || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY"w"IW')
$$;

-- Partitions between two times that do not exist yet.
CREATE FUNCTION missing_history_partitions(from_time timestamptz, to_time timestamptz)
RETURNS TABLE (parent text, week timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.parent, w.week
    FROM generate_series(date_trunc('week', from_time AT TIME ZONE 'UTC'), to_time AT TIME ZONE 'UTC', interval '7 days') AS s (local),
        LATERAL (SELECT s.local AT TIME ZONE 'UTC' AS week) w,
        unnest(ARRAY['plan_executions', 'execution_attempts', 'execution_history']) AS p (parent)
    WHERE w.week < to_time AND to_regclass(history_partition_name(p.parent, w.week)) IS NULL
    ORDER BY w.week
$$;

-- Partitions that hold nothing younger than a time, the youngest first; as far back as a year, so
-- that what an outage left is found.
CREATE FUNCTION old_history_partitions(before_time timestamptz) RETURNS TABLE (parent text, week timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.parent, w.week
    FROM generate_series(1, 53) AS s (step),
        LATERAL (SELECT (date_trunc('week', before_time AT TIME ZONE 'UTC') - s.step * interval '7 days') AT TIME ZONE 'UTC' AS week) w,
        unnest(ARRAY['plan_executions', 'execution_attempts', 'execution_history']) AS p (parent)
    WHERE to_regclass(history_partition_name(p.parent, w.week)) IS NOT NULL
    ORDER BY w.week DESC
$$;

-- Creates one partition. A new table is attached, which does not conflict with those who read and
-- write its parent; PARTITION OF would. Returns false if it exists or another replica is at it.
CREATE FUNCTION make_history_partition(parent text, week timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    name text := history_partition_name(parent, week);
BEGIN
    IF parent NOT IN ('plan_executions', 'execution_attempts', 'execution_history') THEN
        RAISE EXCEPTION 'table % has no partitions', parent;
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtext('orchid.history_partitions')) OR to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', name, parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name,
        uuid_floor(week), uuid_floor(week + interval '7 days'));
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    RETURN true;
END
$$;

-- Drops one partition. That locks the parent for a moment and may not wait for long: others wait
-- behind it meanwhile. Returns false if it is gone or another replica is at it.
CREATE FUNCTION drop_history_partition(parent text, week timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    name text := history_partition_name(parent, week);
BEGIN
    IF parent NOT IN ('plan_executions', 'execution_attempts', 'execution_history') THEN
        RAISE EXCEPTION 'table % has no partitions', parent;
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtext('orchid.history_partitions')) OR to_regclass(name) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', name);
    RETURN true;
END
$$;

-- Older servers call these two. They do the same, in the caller's one transaction.
CREATE OR REPLACE FUNCTION make_history_partitions(from_time timestamptz, to_time timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    made integer := 0;
    missing record;
BEGIN
    FOR missing IN SELECT * FROM missing_history_partitions(from_time, to_time) LOOP
        made := made + make_history_partition(missing.parent, missing.week)::integer;
    END LOOP;
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION drop_history_partitions(before_time timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    dropped integer := 0;
    old record;
BEGIN
    FOR old IN SELECT * FROM old_history_partitions(before_time) LOOP
        dropped := dropped + drop_history_partition(old.parent, old.week)::integer;
    END LOOP;
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION missing_history_partitions(timestamptz, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION old_history_partitions(timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION make_history_partition(text, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION drop_history_partition(text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION missing_history_partitions(timestamptz, timestamptz) TO orchid_fleet;
GRANT EXECUTE ON FUNCTION old_history_partitions(timestamptz) TO orchid_fleet;
GRANT EXECUTE ON FUNCTION make_history_partition(text, timestamptz) TO orchid_fleet;
GRANT EXECUTE ON FUNCTION drop_history_partition(text, timestamptz) TO orchid_fleet;

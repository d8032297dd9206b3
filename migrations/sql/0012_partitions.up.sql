-- Weekly partitions of the history. Made ahead, dropped whole; there is no default partition, so a
-- row that fits none is an error instead of a table that can never be dropped. Partitions are
-- reached through their parent alone, and no role is granted them. Both functions run as their
-- owner, so that the fleet's role needs no right to change tables.
CREATE FUNCTION make_history_partitions(from_time timestamptz, to_time timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    parent text;
    week timestamptz;
    name text;
    made integer := 0;
BEGIN
    -- One replica at a time.
    PERFORM pg_advisory_xact_lock(hashtext('orchid.history_partitions'));
    week := date_trunc('week', from_time AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    WHILE week < to_time LOOP
        FOREACH parent IN ARRAY ARRAY['plan_executions', 'execution_attempts', 'execution_history'] LOOP
            name := parent || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY"w"IW');
            IF to_regclass(name) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent,
                    uuid_floor(week), uuid_floor(week + interval '7 days'));
                EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
                EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
                made := made + 1;
            END IF;
        END LOOP;
        week := week + interval '7 days';
    END LOOP;
    RETURN made;
END
$$;

-- Drops the partitions that hold nothing younger than a time.
CREATE FUNCTION drop_history_partitions(before_time timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    parent text;
    week timestamptz;
    name text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('orchid.history_partitions'));
    -- The week that holds the time stays; as far back as a year, what an outage left is found.
    week := date_trunc('week', before_time AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '7 days';
    FOR step IN 0..52 LOOP
        FOREACH parent IN ARRAY ARRAY['plan_executions', 'execution_attempts', 'execution_history'] LOOP
            name := parent || '_' || to_char((week - step * interval '7 days') AT TIME ZONE 'UTC', 'IYYY"w"IW');
            IF to_regclass(name) IS NOT NULL THEN
                EXECUTE format('DROP TABLE %I', name);
                dropped := dropped + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN dropped;
END
$$;

-- Until when history can be written, for readiness.
CREATE FUNCTION history_partitions_end() RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    week timestamptz := date_trunc('week', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
    WHILE to_regclass('execution_history_' || to_char(week AT TIME ZONE 'UTC', 'IYYY"w"IW')) IS NOT NULL LOOP
        week := week + interval '7 days';
    END LOOP;
    RETURN week;
END
$$;

REVOKE ALL ON FUNCTION make_history_partitions(timestamptz, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION drop_history_partitions(timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION history_partitions_end() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_history_partitions(timestamptz, timestamptz), drop_history_partitions(timestamptz),
    history_partitions_end() TO orchid_fleet;

SELECT make_history_partitions(now() - interval '35 days', now() + interval '15 days');

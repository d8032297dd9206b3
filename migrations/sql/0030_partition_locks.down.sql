CREATE OR REPLACE FUNCTION make_history_partitions(from_time timestamptz, to_time timestamptz) RETURNS integer
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

CREATE OR REPLACE FUNCTION drop_history_partitions(before_time timestamptz) RETURNS integer
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

DROP FUNCTION drop_history_partition(text, timestamptz);
DROP FUNCTION make_history_partition(text, timestamptz);
DROP FUNCTION old_history_partitions(timestamptz);
DROP FUNCTION missing_history_partitions(timestamptz, timestamptz);
DROP FUNCTION history_partition_name(text, timestamptz);

-- On a Citus cluster: every tenant's table is distributed by the tenant, in one co-location group
-- of 32 shards. On plain Postgres this does nothing. It comes before foreign keys and row security:
-- distributing a table under forced row security can lose its rows silently, so it is a superuser's
-- work, on empty tables, and it checks both.
DO $$
DECLARE
    entry text;
    rows_there bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        RETURN;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'distributing tables needs a superuser, and % is none: run this migration with a superuser''s owner url', current_user;
    END IF;
    -- Functions are replaced below, which Citus refuses after commands that ran in parallel.
    SET LOCAL citus.multi_shard_modify_mode = 'sequential';
    EXECUTE 'SELECT create_distributed_table(''tenants'', ''id'', shard_count := 32)';
    FOREACH entry IN ARRAY ARRAY['integrations', 'config_schemas', 'configs', 'plans', 'plan_revisions', 'schedules',
        'plan_executions', 'execution_attempts', 'execution_history', 'ready', 'leases', 'checkpoints', 'plan_contexts',
        'announcements', 'request_log']
    LOOP
        EXECUTE format('SELECT count(*) FROM %I', entry) INTO rows_there;
        IF rows_there > 0 THEN
            RAISE EXCEPTION 'table % holds % rows: distribute an empty database, then load it', entry, rows_there;
        END IF;
        EXECUTE format('SELECT create_distributed_table(%L, ''tenant_id'', colocate_with := ''tenants'')', entry);
    END LOOP;
    EXECUTE $citus$
        CREATE OR REPLACE FUNCTION placement_group(tenant uuid) RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE AS
        'SELECT get_shard_id_for_distribution_column(''tenants'', tenant)::integer'
    $citus$;
    ALTER ROLE orchid_app SET citus.propagate_set_commands = 'local';
    ALTER ROLE orchid_app SET citus.enable_deadlock_prevention = off;
    ALTER ROLE orchid_app SET citus.max_adaptive_executor_pool_size = 1;
    ALTER ROLE orchid_fleet SET citus.propagate_set_commands = 'local';
    ALTER ROLE orchid_fleet SET citus.enable_deadlock_prevention = off;
    ALTER ROLE orchid_fleet SET citus.max_adaptive_executor_pool_size = 1;
END
$$;

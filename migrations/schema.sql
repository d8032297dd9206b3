-- What the migrations make of an empty database, kept true by a test. Nothing reads it but people.

CREATE OR REPLACE FUNCTION public.drop_history_partition(parent text, week timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '100ms'
AS $function$
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
$function$;

GRANT EXECUTE ON FUNCTION drop_history_partition(parent text, week timestamp with time zone) TO orchid_fleet;

CREATE OR REPLACE FUNCTION public.drop_history_partitions(before_time timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    dropped integer := 0;
    old record;
BEGIN
    FOR old IN SELECT * FROM old_history_partitions(before_time) LOOP
        dropped := dropped + drop_history_partition(old.parent, old.week)::integer;
    END LOOP;
    RETURN dropped;
END
$function$;

GRANT EXECUTE ON FUNCTION drop_history_partitions(before_time timestamp with time zone) TO orchid_fleet;

CREATE OR REPLACE FUNCTION public.history_partition_name(parent text, week timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT parent || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY"w"IW')
$function$;

CREATE OR REPLACE FUNCTION public.history_partitions_end()
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    week timestamptz := date_trunc('week', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
    WHILE to_regclass('execution_history_' || to_char(week AT TIME ZONE 'UTC', 'IYYY"w"IW')) IS NOT NULL LOOP
        week := week + interval '7 days';
    END LOOP;
    RETURN week;
END
$function$;

GRANT EXECUTE ON FUNCTION history_partitions_end() TO orchid_fleet;

CREATE OR REPLACE FUNCTION public.make_history_partition(parent text, week timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '500ms'
AS $function$
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
$function$;

GRANT EXECUTE ON FUNCTION make_history_partition(parent text, week timestamp with time zone) TO orchid_fleet;

CREATE OR REPLACE FUNCTION public.make_history_partitions(from_time timestamp with time zone, to_time timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    made integer := 0;
    missing record;
BEGIN
    FOR missing IN SELECT * FROM missing_history_partitions(from_time, to_time) LOOP
        made := made + make_history_partition(missing.parent, missing.week)::integer;
    END LOOP;
    RETURN made;
END
$function$;

GRANT EXECUTE ON FUNCTION make_history_partitions(from_time timestamp with time zone, to_time timestamp with time zone) TO orchid_fleet;

CREATE OR REPLACE FUNCTION public.missing_history_partitions(from_time timestamp with time zone, to_time timestamp with time zone)
 RETURNS TABLE(parent text, week timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    SELECT p.parent, w.week
    FROM generate_series(date_trunc('week', from_time AT TIME ZONE 'UTC'), to_time AT TIME ZONE 'UTC', interval '7 days') AS s (local),
        LATERAL (SELECT s.local AT TIME ZONE 'UTC' AS week) w,
        unnest(ARRAY['plan_executions', 'execution_attempts', 'execution_history']) AS p (parent)
    WHERE w.week < to_time AND to_regclass(history_partition_name(p.parent, w.week)) IS NULL
    ORDER BY w.week
$function$;

GRANT EXECUTE ON FUNCTION missing_history_partitions(from_time timestamp with time zone, to_time timestamp with time zone) TO orchid_fleet;

CREATE OR REPLACE FUNCTION public.old_history_partitions(before_time timestamp with time zone)
 RETURNS TABLE(parent text, week timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    SELECT p.parent, w.week
    FROM generate_series(1, 53) AS s (step),
        LATERAL (SELECT (date_trunc('week', before_time AT TIME ZONE 'UTC') - s.step * interval '7 days') AT TIME ZONE 'UTC' AS week) w,
        unnest(ARRAY['plan_executions', 'execution_attempts', 'execution_history']) AS p (parent)
    WHERE to_regclass(history_partition_name(p.parent, w.week)) IS NOT NULL
    ORDER BY w.week DESC
$function$;

GRANT EXECUTE ON FUNCTION old_history_partitions(before_time timestamp with time zone) TO orchid_fleet;

CREATE OR REPLACE FUNCTION public.placement_group(tenant uuid)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ SELECT 0 $function$;

CREATE OR REPLACE FUNCTION public.set_tenant(tenant uuid)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
    EXECUTE format('SET LOCAL orchid.tenant_id = %L', tenant);
END
$function$;

CREATE OR REPLACE FUNCTION public.uuid_floor(at timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$function$;

CREATE OR REPLACE FUNCTION public.waiting_tenants(of_pool text)
 RETURNS TABLE(tenant_id uuid, weight integer)
 LANGUAGE plpgsql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS $function$
BEGIN
    RETURN QUERY
    WITH RECURSIVE found (id) AS (
        (SELECT r.tenant_id FROM ready r WHERE r.pool = of_pool AND r.not_before IS NULL AND r.rung_at IS NULL
         ORDER BY r.tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT r.tenant_id FROM ready r
                WHERE r.pool = of_pool AND r.not_before IS NULL AND r.rung_at IS NULL AND r.tenant_id > f.id
                ORDER BY r.tenant_id LIMIT 1)
        FROM found f WHERE f.id IS NOT NULL)
    SELECT t.id, t.weight FROM found f JOIN tenants t ON t.id = f.id;
END
$function$;

CREATE TABLE announcements (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    execution_id uuid NOT NULL,
    pool text NOT NULL,
    message_key text NOT NULL,
    headers jsonb NOT NULL,
    payload bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    handed_at timestamp with time zone,
    CONSTRAINT announcements_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX announcements_by_age ON public.announcements USING btree (pool, handed_at, created_at);

CREATE INDEX announcements_by_time ON public.announcements USING btree (created_at);

ALTER TABLE announcements ENABLE ROW LEVEL SECURITY;

ALTER TABLE announcements FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON announcements FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON announcements FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON announcements TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON announcements TO orchid_fleet;

CREATE TABLE checkpoints (
    tenant_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    seq bigint NOT NULL,
    fence bigint NOT NULL,
    resume_state bytea NOT NULL,
    finished_steps bytea,
    own_context bytea,
    progress bytea NOT NULL,
    saved_at timestamp with time zone NOT NULL,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (tenant_id, execution_id)
);

CREATE INDEX checkpoints_by_execution ON public.checkpoints USING btree (execution_id);

ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY;

ALTER TABLE checkpoints FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON checkpoints FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON checkpoints FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON checkpoints TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON checkpoints TO orchid_fleet;

CREATE TABLE config_schemas (
    tenant_id uuid NOT NULL,
    integration_id uuid NOT NULL,
    version integer NOT NULL,
    schema jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT config_schemas_pkey PRIMARY KEY (tenant_id, integration_id, version)
);

ALTER TABLE config_schemas ADD CONSTRAINT config_schemas_integration FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE config_schemas ENABLE ROW LEVEL SECURITY;

ALTER TABLE config_schemas FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON config_schemas FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON config_schemas FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON config_schemas TO orchid_app;

GRANT SELECT ON config_schemas TO orchid_fleet;

CREATE TABLE configs (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    integration_id uuid NOT NULL,
    key text NOT NULL,
    display_name text NOT NULL,
    enabled boolean NOT NULL,
    "values" jsonb NOT NULL,
    secrets bytea,
    transport jsonb NOT NULL DEFAULT '{}'::jsonb,
    schema_version integer NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    transport_secrets bytea,
    CONSTRAINT configs_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT configs_tenant_id_integration_id_key_key UNIQUE (tenant_id, integration_id, key)
);

CREATE INDEX configs_of_integration ON public.configs USING btree (tenant_id, integration_id, id);

ALTER TABLE configs ADD CONSTRAINT configs_integration FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations(tenant_id, id);

ALTER TABLE configs ENABLE ROW LEVEL SECURITY;

ALTER TABLE configs FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON configs FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON configs FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON configs TO orchid_app;

GRANT SELECT ON configs TO orchid_fleet;

CREATE TABLE control_plane_replicas (
    id uuid NOT NULL,
    build text NOT NULL,
    key_ids text[] NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    CONSTRAINT control_plane_replicas_pkey PRIMARY KEY (id)
);

GRANT DELETE, INSERT, SELECT, UPDATE ON control_plane_replicas TO orchid_fleet;

CREATE TABLE cursors (
    tenant_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    config_id uuid NOT NULL,
    kind text NOT NULL,
    step text NOT NULL,
    item bytea NOT NULL,
    value bytea NOT NULL,
    execution_id uuid NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT cursors_kind_check CHECK ((kind = ANY (ARRAY['cursor'::text, 'validator'::text]))),
    CONSTRAINT cursors_pkey PRIMARY KEY (tenant_id, plan_id, config_id, kind, step, item)
);

CREATE INDEX cursors_by_config ON public.cursors USING btree (tenant_id, config_id);

ALTER TABLE cursors ADD CONSTRAINT cursors_config FOREIGN KEY (tenant_id, config_id) REFERENCES configs(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE cursors ADD CONSTRAINT cursors_plan FOREIGN KEY (tenant_id, plan_id) REFERENCES plans(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE cursors ENABLE ROW LEVEL SECURITY;

ALTER TABLE cursors FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON cursors FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON cursors FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON cursors TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON cursors TO orchid_fleet;

CREATE TABLE execution_attempts (
    tenant_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    attempt integer NOT NULL,
    fence bigint NOT NULL,
    lease_id uuid NOT NULL,
    session_id uuid NOT NULL,
    executor text NOT NULL,
    granted_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    verdict text,
    final_seq bigint NOT NULL DEFAULT 0,
    last_request text,
    CONSTRAINT execution_attempts_pkey PRIMARY KEY (tenant_id, execution_id, attempt),
    CONSTRAINT execution_attempts_verdict_check CHECK ((verdict = ANY (ARRAY['completed'::text, 'parked'::text, 'drained'::text, 'lost_heartbeat'::text, 'self_fenced'::text, 'never_started'::text, 'cancelled'::text, 'poison'::text, 'expired'::text])))
) PARTITION BY RANGE (execution_id);

ALTER TABLE execution_attempts ENABLE ROW LEVEL SECURITY;

ALTER TABLE execution_attempts FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON execution_attempts FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON execution_attempts FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON execution_attempts TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON execution_attempts TO orchid_fleet;

CREATE TABLE execution_history (
    tenant_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    state text NOT NULL,
    attempt integer NOT NULL,
    cause text NOT NULL,
    detail text NOT NULL DEFAULT ''::text,
    CONSTRAINT execution_history_pkey PRIMARY KEY (tenant_id, execution_id, id)
) PARTITION BY RANGE (execution_id);

ALTER TABLE execution_history ENABLE ROW LEVEL SECURITY;

ALTER TABLE execution_history FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON execution_history FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON execution_history FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON execution_history TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON execution_history TO orchid_fleet;

CREATE TABLE executor_sessions (
    id uuid NOT NULL,
    name text NOT NULL,
    pool text NOT NULL,
    slots integer NOT NULL,
    build text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    heartbeat_at timestamp with time zone NOT NULL,
    heartbeat_seq bigint NOT NULL DEFAULT 0,
    ttl_ms bigint NOT NULL,
    resolved_acquire_seq bigint NOT NULL DEFAULT 0,
    free_slots integer NOT NULL,
    draining boolean NOT NULL DEFAULT false,
    last_requests jsonb NOT NULL DEFAULT '{}'::jsonb,
    ended_at timestamp with time zone,
    end_cause text,
    CONSTRAINT executor_sessions_pkey PRIMARY KEY (id)
) WITH (fillfactor=50);

CREATE INDEX executor_sessions_ended ON public.executor_sessions USING btree (ended_at) WHERE (ended_at IS NOT NULL);

CREATE INDEX executor_sessions_live ON public.executor_sessions USING btree (id) WHERE (ended_at IS NULL);

GRANT DELETE, INSERT, SELECT, UPDATE ON executor_sessions TO orchid_fleet;

CREATE TABLE integrations (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    key text NOT NULL,
    display_name text NOT NULL,
    description text NOT NULL,
    schema_version integer NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT integrations_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT integrations_tenant_id_key_key UNIQUE (tenant_id, key)
);

ALTER TABLE integrations ADD CONSTRAINT integrations_tenant FOREIGN KEY (tenant_id) REFERENCES tenants(id);

ALTER TABLE integrations ENABLE ROW LEVEL SECURITY;

ALTER TABLE integrations FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON integrations FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON integrations FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON integrations TO orchid_app;

GRANT SELECT ON integrations TO orchid_fleet;

CREATE TABLE leases (
    tenant_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    lease_id uuid NOT NULL,
    session_id uuid NOT NULL,
    attempt integer NOT NULL,
    fence bigint NOT NULL,
    acquire_seq bigint NOT NULL,
    confirmed boolean NOT NULL DEFAULT false,
    losses integer NOT NULL DEFAULT 0,
    granted_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone,
    CONSTRAINT leases_pkey PRIMARY KEY (tenant_id, execution_id)
);

CREATE INDEX leases_by_end ON public.leases USING btree (ends_at);

CREATE INDEX leases_by_session ON public.leases USING btree (session_id);

ALTER TABLE leases ENABLE ROW LEVEL SECURITY;

ALTER TABLE leases FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON leases FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON leases FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON leases TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON leases TO orchid_fleet;

CREATE TABLE loop_runs (
    name text NOT NULL,
    ran_at timestamp with time zone NOT NULL,
    grace_until timestamp with time zone,
    CONSTRAINT loop_runs_pkey PRIMARY KEY (name)
);

GRANT DELETE, INSERT, SELECT, UPDATE ON loop_runs TO orchid_fleet;

CREATE TABLE plan_contexts (
    tenant_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    config_id uuid NOT NULL,
    name text NOT NULL,
    value bytea NOT NULL,
    execution_id uuid NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT plan_contexts_pkey PRIMARY KEY (tenant_id, plan_id, config_id, name)
);

CREATE INDEX plan_contexts_by_config ON public.plan_contexts USING btree (tenant_id, config_id);

ALTER TABLE plan_contexts ADD CONSTRAINT plan_contexts_config FOREIGN KEY (tenant_id, config_id) REFERENCES configs(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE plan_contexts ADD CONSTRAINT plan_contexts_plan FOREIGN KEY (tenant_id, plan_id) REFERENCES plans(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE plan_contexts ENABLE ROW LEVEL SECURITY;

ALTER TABLE plan_contexts FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON plan_contexts FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON plan_contexts FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON plan_contexts TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON plan_contexts TO orchid_fleet;

CREATE TABLE plan_executions (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    plan_id uuid NOT NULL,
    plan_key text NOT NULL,
    plan_revision integer NOT NULL,
    integration_key text NOT NULL,
    config_id uuid NOT NULL,
    config_key text NOT NULL,
    kind text NOT NULL,
    origin text NOT NULL,
    persists boolean NOT NULL,
    context_override bytea,
    persist_context boolean NOT NULL,
    state text NOT NULL,
    waiting_for text,
    not_before timestamp with time zone,
    partial boolean NOT NULL DEFAULT false,
    complete boolean NOT NULL DEFAULT false,
    attempt integer NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    lease_id uuid,
    losses integer NOT NULL DEFAULT 0,
    priority smallint NOT NULL,
    scheduled_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    cancel_reason text,
    ran_ms bigint NOT NULL DEFAULT 0,
    attempt_ran_ms bigint NOT NULL DEFAULT 0,
    checkpoint_seq bigint NOT NULL DEFAULT 0,
    continues_execution_id uuid,
    traceparent text,
    progress bytea,
    error bytea,
    version bigint NOT NULL DEFAULT 1,
    updated_at timestamp with time zone NOT NULL,
    needs_upstream_cancel boolean NOT NULL DEFAULT false,
    dropped_execution_id uuid,
    CONSTRAINT plan_executions_kind_check CHECK ((kind = ANY (ARRAY['run'::text, 'preview'::text, 'test'::text]))),
    CONSTRAINT plan_executions_origin_check CHECK ((origin = ANY (ARRAY['schedule'::text, 'trigger'::text, 'retry'::text, 'replay'::text]))),
    CONSTRAINT plan_executions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT plan_executions_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'queued'::text, 'running'::text, 'parked'::text, 'blocked'::text, 'succeeded'::text, 'failed'::text, 'aborted'::text, 'cancelled'::text, 'dead_lettered'::text])))
) PARTITION BY RANGE (id);

CREATE INDEX plan_executions_by_plan ON ONLY public.plan_executions USING btree (tenant_id, plan_id, config_id, id);

CREATE INDEX plan_executions_by_state ON ONLY public.plan_executions USING btree (tenant_id, state, id) WHERE (state <> 'succeeded'::text);

CREATE INDEX plan_executions_cancelling ON ONLY public.plan_executions USING btree (cancel_requested_at) WHERE ((cancel_requested_at IS NOT NULL) AND (state = ANY (ARRAY['queued'::text, 'running'::text])));

CREATE INDEX plan_executions_of_plan ON ONLY public.plan_executions USING btree (tenant_id, plan_id, id);

CREATE INDEX plan_executions_open ON ONLY public.plan_executions USING btree (tenant_id, plan_id, config_id) WHERE (state = ANY (ARRAY['pending'::text, 'queued'::text, 'running'::text, 'parked'::text, 'blocked'::text]));

CREATE INDEX plan_executions_pending ON ONLY public.plan_executions USING btree (tenant_id, plan_id, config_id, created_at, id) WHERE (state = 'pending'::text);

CREATE INDEX plan_executions_waiting ON ONLY public.plan_executions USING btree (updated_at, id) WHERE (state = 'pending'::text);

ALTER TABLE plan_executions ENABLE ROW LEVEL SECURITY;

ALTER TABLE plan_executions FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON plan_executions FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON plan_executions FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON plan_executions TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON plan_executions TO orchid_fleet;

CREATE TABLE plan_revisions (
    tenant_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    revision integer NOT NULL,
    definition jsonb NOT NULL,
    definition_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    max_execution_seconds bigint,
    CONSTRAINT plan_revisions_pkey PRIMARY KEY (tenant_id, plan_id, revision)
);

ALTER TABLE plan_revisions ADD CONSTRAINT plan_revisions_plan FOREIGN KEY (tenant_id, plan_id) REFERENCES plans(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE plan_revisions ENABLE ROW LEVEL SECURITY;

ALTER TABLE plan_revisions FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON plan_revisions FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON plan_revisions FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON plan_revisions TO orchid_app;

GRANT SELECT ON plan_revisions TO orchid_fleet;

CREATE TABLE plans (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    integration_id uuid NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    enabled boolean NOT NULL,
    configs jsonb,
    wait_seconds integer NOT NULL,
    overlap text NOT NULL,
    repeat_count integer,
    priority smallint NOT NULL,
    revision integer NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    cron text,
    timezone text,
    spread_seconds integer,
    catch_up text NOT NULL DEFAULT 'run_once'::text,
    CONSTRAINT plans_catch_up_check CHECK ((catch_up = ANY (ARRAY['run_once'::text, 'skip'::text, 'run_each'::text]))),
    CONSTRAINT plans_overlap_check CHECK ((overlap = ANY (ARRAY['skip'::text, 'queue'::text]))),
    CONSTRAINT plans_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT plans_priority_check CHECK (((priority >= 0) AND (priority <= 9))),
    CONSTRAINT plans_repeat_count_check CHECK ((repeat_count >= 1)),
    CONSTRAINT plans_spread_seconds_check CHECK ((spread_seconds >= 0)),
    CONSTRAINT plans_tenant_id_key_key UNIQUE (tenant_id, key),
    CONSTRAINT plans_wait_seconds_check CHECK ((wait_seconds >= 1))
);

CREATE INDEX plans_of_integration ON public.plans USING btree (tenant_id, integration_id, id);

ALTER TABLE plans ADD CONSTRAINT plans_integration FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations(tenant_id, id);

ALTER TABLE plans ENABLE ROW LEVEL SECURITY;

ALTER TABLE plans FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON plans FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON plans FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON plans TO orchid_app;

GRANT SELECT ON plans TO orchid_fleet;

CREATE TABLE ready (
    tenant_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    pool text NOT NULL,
    priority smallint NOT NULL,
    seq bigint NOT NULL,
    not_before timestamp with time zone,
    rung_at timestamp with time zone,
    rings integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,
    traceparent text,
    CONSTRAINT ready_pkey PRIMARY KEY (tenant_id, execution_id)
);

CREATE INDEX ready_execution ON public.ready USING btree (execution_id);

CREATE INDEX ready_parked ON public.ready USING btree (not_before) WHERE (not_before IS NOT NULL);

CREATE INDEX ready_rung ON public.ready USING btree (pool, rung_at) WHERE (rung_at IS NOT NULL);

CREATE INDEX ready_waiting ON public.ready USING btree (pool, tenant_id, priority DESC, seq) WHERE ((not_before IS NULL) AND (rung_at IS NULL));

ALTER TABLE ready ENABLE ROW LEVEL SECURITY;

ALTER TABLE ready FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON ready FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON ready FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON ready TO orchid_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON ready TO orchid_fleet;

CREATE TABLE request_log (
    tenant_id uuid NOT NULL,
    request_id uuid NOT NULL,
    method text NOT NULL,
    body_hash bytea NOT NULL,
    response bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT request_log_pkey PRIMARY KEY (tenant_id, request_id)
);

CREATE INDEX request_log_by_age ON public.request_log USING btree (created_at);

ALTER TABLE request_log ENABLE ROW LEVEL SECURITY;

ALTER TABLE request_log FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON request_log FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON request_log FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON request_log TO orchid_app;

GRANT DELETE, SELECT ON request_log TO orchid_fleet;

CREATE TABLE schedules (
    tenant_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    config_id uuid NOT NULL,
    id uuid NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    next_due_at timestamp with time zone,
    current_execution_id uuid,
    active_execution_id uuid,
    last_execution_id uuid,
    run_count integer NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    decided_until timestamp with time zone,
    owed_until timestamp with time zone,
    limited_execution_id uuid,
    limited_revision integer,
    CONSTRAINT schedules_pkey PRIMARY KEY (tenant_id, plan_id, config_id),
    CONSTRAINT schedules_tenant_id_id_key UNIQUE (tenant_id, id)
);

CREATE INDEX schedules_by_config ON public.schedules USING btree (tenant_id, config_id);

CREATE INDEX schedules_due ON public.schedules USING btree (next_due_at) WHERE (next_due_at IS NOT NULL);

CREATE INDEX schedules_held ON public.schedules USING btree (tenant_id, plan_id, config_id) WHERE ((active_execution_id IS NOT NULL) OR (current_execution_id IS NOT NULL));

CREATE INDEX schedules_idle ON public.schedules USING btree (tenant_id, plan_id, config_id) WHERE ((next_due_at IS NULL) AND (current_execution_id IS NULL) AND (NOT paused));

CREATE INDEX schedules_of_plan ON public.schedules USING btree (tenant_id, plan_id, id);

ALTER TABLE schedules ADD CONSTRAINT schedules_config FOREIGN KEY (tenant_id, config_id) REFERENCES configs(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE schedules ADD CONSTRAINT schedules_plan FOREIGN KEY (tenant_id, plan_id) REFERENCES plans(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE schedules ENABLE ROW LEVEL SECURITY;

ALTER TABLE schedules FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON schedules FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON schedules FOR ALL TO orchid_app USING ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT DELETE, INSERT, SELECT, UPDATE ON schedules TO orchid_app;

GRANT SELECT, UPDATE ON schedules TO orchid_fleet;

CREATE TABLE schema_compatibility (
    only_row boolean NOT NULL DEFAULT true,
    oldest_step text NOT NULL,
    CONSTRAINT schema_compatibility_only_row_check CHECK (only_row),
    CONSTRAINT schema_compatibility_pkey PRIMARY KEY (only_row)
);

GRANT SELECT ON schema_compatibility TO orchid_fleet;

CREATE TABLE seaql_migrations (
    version character varying NOT NULL,
    applied_at bigint NOT NULL,
    CONSTRAINT seaql_migrations_pkey PRIMARY KEY (version)
);

GRANT SELECT ON seaql_migrations TO orchid_app;

GRANT SELECT ON seaql_migrations TO orchid_fleet;

CREATE TABLE tenants (
    id uuid NOT NULL,
    display_name text NOT NULL,
    pool text NOT NULL DEFAULT 'default'::text,
    weight integer NOT NULL DEFAULT 100,
    data_key bytea NOT NULL,
    data_key_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_weight_check CHECK (((weight >= 1) AND (weight <= 1000)))
);

CREATE INDEX tenants_data_key ON public.tenants USING btree (data_key_id);

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

CREATE POLICY of_fleet ON tenants FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

CREATE POLICY of_tenant ON tenants FOR ALL TO orchid_app USING ((id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((id = (NULLIF(current_setting('orchid.tenant_id'::text, true), ''::text))::uuid));

GRANT INSERT, SELECT ON tenants TO orchid_app;

GRANT SELECT ON tenants TO orchid_fleet;

-- Fills every table that grows. The tenant `:tenant` gets most of it; 2,000 others share the rest.
INSERT INTO tenants (id, display_name, pool, data_key, data_key_id, created_at)
    SELECT uuid_floor(now() - n * interval '1 minute'), 'other ' || n, 'elsewhere', ''::bytea, 'none', now() FROM generate_series(1, 2000) n;
INSERT INTO integrations (tenant_id, id, key, display_name, description, created_at, updated_at)
    SELECT id, id, 'shop', '', '', now(), now() FROM tenants WHERE pool = 'elsewhere';
INSERT INTO config_schemas (tenant_id, integration_id, version, schema, created_at)
    SELECT i.tenant_id, i.id, 1, '{}', now() FROM integrations i WHERE i.tenant_id <> ':tenant';
INSERT INTO configs (tenant_id, id, integration_id, key, display_name, enabled, "values", schema_version, created_at, updated_at)
    SELECT i.tenant_id, md5('config' || n)::uuid, i.id, 'config-' || n, '', true, '{}', 0, now(), now()
    FROM integrations i, generate_series(1, 2000) n WHERE i.tenant_id = ':tenant';
INSERT INTO plans (tenant_id, id, integration_id, key, name, description, enabled, configs, wait_seconds, overlap, priority, revision, created_at, updated_at)
    SELECT i.tenant_id, md5('plan' || n)::uuid, i.id, 'plan-' || n, '', '', false, '["config-1"]', 3600, 'skip', 5, 1, now(), now()
    FROM integrations i, generate_series(1000, 1199) n WHERE i.tenant_id = ':tenant';
INSERT INTO plans (tenant_id, id, integration_id, key, name, description, enabled, configs, wait_seconds, overlap, priority, revision, created_at, updated_at)
    SELECT i.tenant_id, md5('plan' || n)::uuid, i.id, 'plan-' || n, '', '', false, '["config-1"]', 3600, 'skip', 5, 1, now(), now()
    FROM integrations i, generate_series(1, 5) n WHERE i.tenant_id <> ':tenant';
INSERT INTO plan_revisions (tenant_id, plan_id, revision, definition, definition_hash, created_at)
    SELECT tenant_id, id, 1, '{"step": {"id": "one", "url": "http://127.0.0.1:1/"}}', ''::bytea, now() FROM plans WHERE key LIKE 'plan-%';
-- Schedules that are due in a year, that are idle for ever, and that an execution holds.
INSERT INTO schedules (tenant_id, plan_id, config_id, id, created_at, updated_at, next_due_at, current_execution_id, active_execution_id)
    SELECT c.tenant_id, p.id, c.id, md5(p.key || c.key)::uuid, now(), now(),
        CASE WHEN p.key < 'plan-1005' THEN now() + interval '1 year' END,
        CASE WHEN p.key >= 'plan-1008' THEN md5('run' || p.key || c.key)::uuid END,
        CASE WHEN p.key >= 'plan-1008' THEN md5('run' || p.key || c.key)::uuid END
    FROM configs c, plans p
    WHERE c.tenant_id = ':tenant' AND p.tenant_id = c.tenant_id AND p.key BETWEEN 'plan-1000' AND 'plan-1009' AND c.key LIKE 'config-%'
    ON CONFLICT DO NOTHING;
-- Ended executions of this week and of the one before, and open ones that hold the schedules.
INSERT INTO plan_executions (tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, origin, persists,
        persist_context, state, priority, scheduled_at, created_at, updated_at)
    SELECT ':tenant', (left(uuid_floor(now() - n * interval '20 seconds')::text, 14) || substr(md5(n::text)::uuid::text, 15))::uuid,
        md5('plan' || 1000 + n % 50)::uuid, 'plan-' || 1000 + n % 50, 1, 'shop', md5('config' || n % 2000)::uuid, 'config-' || n % 2000, 'run', 'trigger', true, false,
        CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'succeeded' END, 5, now() - n * interval '20 seconds', now() - n * interval '20 seconds', now()
    FROM generate_series(1, 40000) n;
UPDATE schedules SET current_execution_id = (left(uuid_floor(now())::text, 14) || substr(current_execution_id::text, 15))::uuid,
    active_execution_id = (left(uuid_floor(now())::text, 14) || substr(active_execution_id::text, 15))::uuid
    WHERE tenant_id = ':tenant' AND current_execution_id IS NOT NULL;
INSERT INTO plan_executions (tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, origin, persists,
        persist_context, state, priority, scheduled_at, created_at, updated_at)
    SELECT s.tenant_id, s.current_execution_id, s.plan_id, 'plan', 1, 'shop', s.config_id, 'config', 'run', 'schedule', true, false, 'parked', 5, now(), now(), now()
    FROM schedules s WHERE s.tenant_id = ':tenant' AND s.current_execution_id IS NOT NULL;
INSERT INTO plan_executions (tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, origin, persists,
        persist_context, state, priority, scheduled_at, created_at, updated_at)
    SELECT s.tenant_id, (left(uuid_floor(now())::text, 14) || substr(md5('pending' || s.id)::uuid::text, 15))::uuid, s.plan_id, 'plan', 1, 'shop', s.config_id, 'config',
        'run', 'trigger', true, false, 'pending', 5, now(), now(), now()
    FROM schedules s WHERE s.tenant_id = ':tenant' AND s.current_execution_id IS NOT NULL;
INSERT INTO ready (tenant_id, execution_id, pool, priority, seq, not_before)
    SELECT tenant_id, id, 'default', 5, 0, now() + interval '1 year' FROM plan_executions WHERE state = 'parked';
INSERT INTO execution_attempts (tenant_id, execution_id, attempt, fence, lease_id, session_id, executor, granted_at, ended_at)
    SELECT tenant_id, id, 1, 1, id, id, 'x', now(), now() FROM plan_executions WHERE state = 'succeeded';
INSERT INTO execution_history (tenant_id, execution_id, id, at, state, attempt, cause)
    SELECT tenant_id, id, id, now(), 'succeeded', 1, '' FROM plan_executions WHERE state = 'succeeded';
-- Sessions that outlive the test hold leases that end in a year.
INSERT INTO executor_sessions (id, name, pool, slots, build, started_at, heartbeat_at, ttl_ms, free_slots)
    SELECT md5('session' || n)::uuid, 'busy', 'elsewhere-' || n % 20, 100, 'x', now(), now() + interval '1 year', 30000, 0
    FROM generate_series(0, 99) n;
INSERT INTO executor_sessions (id, name, pool, slots, build, started_at, heartbeat_at, ttl_ms, free_slots, ended_at)
    SELECT md5('ended' || n)::uuid, 'ended', 'default', 8, 'x', now(), now(), 30000, 0, now() FROM generate_series(1, 3000) n;
INSERT INTO leases (tenant_id, execution_id, lease_id, session_id, attempt, fence, acquire_seq, granted_at, ends_at)
    SELECT tenant_id, id, id, md5('session' || abs(hashtext(id::text)) % 100)::uuid, 1, 1, 1, now(), now() + interval '1 year' FROM plan_executions WHERE state = 'pending';
INSERT INTO checkpoints (tenant_id, execution_id, seq, fence, resume_state, progress, saved_at)
    SELECT tenant_id, id, 1, 1, ''::bytea, ''::bytea, now() FROM plan_executions WHERE state <> 'succeeded';
INSERT INTO announcements (tenant_id, id, execution_id, pool, message_key, headers, payload, created_at)
    SELECT tenant_id, id, id, 'elsewhere', '', '{}', ''::bytea, now() FROM plan_executions WHERE state <> 'succeeded';
INSERT INTO request_log (tenant_id, request_id, method, body_hash, response, created_at)
    SELECT tenant_id, id, '', ''::bytea, ''::bytea, now() FROM plan_executions WHERE state <> 'succeeded';
INSERT INTO plan_contexts (tenant_id, plan_id, config_id, name, value, execution_id, updated_at)
    SELECT tenant_id, plan_id, config_id, 'field', '1'::bytea, id, now() FROM schedules WHERE tenant_id = ':tenant';
INSERT INTO cursors (tenant_id, plan_id, config_id, kind, step, item, value, execution_id, updated_at)
    SELECT tenant_id, plan_id, config_id, 'cursor', 'one', ''::bytea, '1'::bytea, id, now() FROM schedules WHERE tenant_id = ':tenant';
ANALYZE;

-- Row security, forced, so that it binds the owner of the tables too. orchid_app sees the tenant
-- that its transaction set, and nothing while none is set; orchid_fleet sees all tenants, in the
-- tables that loops and executors need.

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON tenants FOR ALL TO orchid_app
    USING (id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON tenants FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE integrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE integrations FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON integrations FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON integrations FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE config_schemas ENABLE ROW LEVEL SECURITY;
ALTER TABLE config_schemas FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON config_schemas FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON config_schemas FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE configs ENABLE ROW LEVEL SECURITY;
ALTER TABLE configs FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON configs FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON configs FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE plans FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON plans FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON plans FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE plan_revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE plan_revisions FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON plan_revisions FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON plan_revisions FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE schedules ENABLE ROW LEVEL SECURITY;
ALTER TABLE schedules FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON schedules FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON schedules FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE plan_executions ENABLE ROW LEVEL SECURITY;
ALTER TABLE plan_executions FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON plan_executions FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON plan_executions FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE execution_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE execution_attempts FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON execution_attempts FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON execution_attempts FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE execution_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE execution_history FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON execution_history FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON execution_history FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE ready ENABLE ROW LEVEL SECURITY;
ALTER TABLE ready FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON ready FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON ready FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE leases FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON leases FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON leases FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE checkpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON checkpoints FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON checkpoints FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE plan_contexts ENABLE ROW LEVEL SECURITY;
ALTER TABLE plan_contexts FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON plan_contexts FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON plan_contexts FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE announcements ENABLE ROW LEVEL SECURITY;
ALTER TABLE announcements FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON announcements FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON announcements FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

ALTER TABLE request_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE request_log FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON request_log FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON request_log FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON integrations, config_schemas, configs, plans, plan_revisions, schedules, plan_executions, execution_attempts, execution_history, ready, leases, checkpoints, plan_contexts, announcements, request_log TO orchid_app;
GRANT SELECT, INSERT ON tenants TO orchid_app;

GRANT SELECT ON tenants, integrations, config_schemas, configs, plans, plan_revisions TO orchid_fleet;
GRANT SELECT, UPDATE ON schedules TO orchid_fleet;
GRANT SELECT, INSERT, UPDATE, DELETE ON plan_executions, execution_attempts, execution_history, ready, leases, checkpoints,
    plan_contexts, announcements, executor_sessions, loop_passes TO orchid_fleet;
GRANT SELECT, DELETE ON request_log TO orchid_fleet;
GRANT SELECT ON seaql_migrations TO orchid_app, orchid_fleet;

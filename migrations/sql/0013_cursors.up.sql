-- What steps keep from run to run outside the context: cursors, and the validators of conditional
-- requests. One row each, so that a checkpoint writes only what changed.
CREATE TABLE cursors (
    tenant_id    uuid NOT NULL,
    plan_id      uuid NOT NULL,
    config_id    uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('cursor', 'validator')),
    -- Id of the step.
    step         text NOT NULL,
    -- A cursor: the item that it is of, empty without one. A validator: what names its url. Bytes:
    -- an upstream made it, and text refuses \u0000.
    item         bytea NOT NULL,
    -- JSON text.
    value        bytea NOT NULL,
    -- The run that wrote it last.
    execution_id uuid NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, plan_id, config_id, kind, step, item)
);

-- On a Citus cluster distributed as all tenants' tables are, before foreign keys and row security:
-- see 0009_distribute.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        RETURN;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'distributing tables needs a superuser, and % is none: run this migration with a superuser''s owner url', current_user;
    END IF;
    EXECUTE 'SELECT create_distributed_table(''cursors'', ''tenant_id'', colocate_with := ''tenants'')';
END
$$;

ALTER TABLE cursors ADD CONSTRAINT cursors_plan
    FOREIGN KEY (tenant_id, plan_id) REFERENCES plans (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE cursors ADD CONSTRAINT cursors_config
    FOREIGN KEY (tenant_id, config_id) REFERENCES configs (tenant_id, id) ON DELETE CASCADE;

ALTER TABLE cursors ENABLE ROW LEVEL SECURITY;
ALTER TABLE cursors FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON cursors FOR ALL TO orchid_app
    USING (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('orchid.tenant_id', true), '')::uuid);
CREATE POLICY of_fleet ON cursors FOR ALL TO orchid_fleet USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON cursors TO orchid_app, orchid_fleet;

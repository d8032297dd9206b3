-- After distribution: Citus takes foreign keys between co-located tables only once they are
-- distributed.
ALTER TABLE integrations ADD CONSTRAINT integrations_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id);
ALTER TABLE config_schemas ADD CONSTRAINT config_schemas_integration
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE configs ADD CONSTRAINT configs_integration
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations (tenant_id, id);
ALTER TABLE plans ADD CONSTRAINT plans_integration
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations (tenant_id, id);
ALTER TABLE plan_revisions ADD CONSTRAINT plan_revisions_plan
    FOREIGN KEY (tenant_id, plan_id) REFERENCES plans (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE schedules ADD CONSTRAINT schedules_plan
    FOREIGN KEY (tenant_id, plan_id) REFERENCES plans (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE schedules ADD CONSTRAINT schedules_config
    FOREIGN KEY (tenant_id, config_id) REFERENCES configs (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE plan_contexts ADD CONSTRAINT plan_contexts_plan
    FOREIGN KEY (tenant_id, plan_id) REFERENCES plans (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE plan_contexts ADD CONSTRAINT plan_contexts_config
    FOREIGN KEY (tenant_id, config_id) REFERENCES configs (tenant_id, id) ON DELETE CASCADE;

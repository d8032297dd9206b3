DROP FUNCTION waiting_tenants(text);
CREATE INDEX ready_by_pool ON ready (pool, tenant_id, priority DESC, seq);
DROP INDEX ready_parked;
DROP INDEX ready_rung;
DROP INDEX ready_waiting;

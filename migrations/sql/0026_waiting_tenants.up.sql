-- Who has work that can start, without a look at the whole queue. A parked row joins the queue when
-- its time has come: the relay clears not_before.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';
CREATE INDEX ready_waiting ON ready (pool, tenant_id, priority DESC, seq) WHERE not_before IS NULL AND rung_at IS NULL;
CREATE INDEX ready_rung ON ready (pool, rung_at) WHERE rung_at IS NOT NULL;
CREATE INDEX ready_parked ON ready (not_before) WHERE not_before IS NOT NULL;
DROP INDEX ready_by_pool;

-- Returns the tenants of a pool that wait: one descent of the index for each tenant, however many
-- rows it has.
CREATE FUNCTION waiting_tenants(of_pool text) RETURNS TABLE (tenant_id uuid, weight integer)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
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
$$;

-- A Citus cluster refuses recursion over shards. Each shard groups its part of the queue there. It
-- also refuses a parameter of an SQL function that reads shards.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        RETURN;
    END IF;
    EXECUTE $citus$
        CREATE OR REPLACE FUNCTION waiting_tenants(of_pool text) RETURNS TABLE (tenant_id uuid, weight integer)
        LANGUAGE plpgsql STABLE AS
        'BEGIN
            RETURN QUERY SELECT r.tenant_id, t.weight FROM ready r JOIN tenants t ON t.id = r.tenant_id
            WHERE r.pool = of_pool AND r.not_before IS NULL AND r.rung_at IS NULL GROUP BY r.tenant_id, t.weight;
        END'
    $citus$;
END
$$;

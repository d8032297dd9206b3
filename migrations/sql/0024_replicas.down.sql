DROP INDEX tenants_data_key;
REVOKE UPDATE (data_key, data_key_id) ON tenants FROM orchid_fleet;
DROP TABLE control_plane_replicas;

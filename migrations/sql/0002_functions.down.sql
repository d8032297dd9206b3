DROP FUNCTION uuid_floor(timestamptz);
DROP FUNCTION placement_group(uuid);
DROP FUNCTION set_tenant(uuid);

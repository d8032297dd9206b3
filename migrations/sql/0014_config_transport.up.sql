-- How a config's requests leave, in one place with where they may go. The column changes its
-- meaning by its type's USING, which row security does not hide rows from.
ALTER TABLE configs RENAME COLUMN allowed_hosts TO transport;
ALTER TABLE configs ALTER COLUMN transport DROP DEFAULT;
ALTER TABLE configs ALTER COLUMN transport TYPE jsonb USING
    CASE WHEN transport = '[]' THEN '{}' ELSE jsonb_build_object('allowed_hosts', transport) END;
ALTER TABLE configs ALTER COLUMN transport SET DEFAULT '{}';

-- The proxy's credentials and the client's key by their JSON pointers, sealed under the tenant's
-- data key.
ALTER TABLE configs ADD COLUMN transport_secrets bytea;

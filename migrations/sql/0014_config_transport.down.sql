ALTER TABLE configs DROP COLUMN transport_secrets;
ALTER TABLE configs ALTER COLUMN transport DROP DEFAULT;
ALTER TABLE configs ALTER COLUMN transport TYPE jsonb USING COALESCE(transport -> 'allowed_hosts', '[]');
ALTER TABLE configs ALTER COLUMN transport SET DEFAULT '[]';
ALTER TABLE configs RENAME COLUMN transport TO allowed_hosts;

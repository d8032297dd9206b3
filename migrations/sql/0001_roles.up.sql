-- The roles of the control plane. Roles belong to the whole cluster of databases: those that exist
-- are left as they are, and the way down leaves them too. Passwords are set by `migrate`, which
-- knows the urls.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orchid_app') THEN
        CREATE ROLE orchid_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orchid_fleet') THEN
        CREATE ROLE orchid_fleet LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION
    -- Two databases of one cluster may be migrated at the same time.
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

GRANT USAGE ON SCHEMA public TO orchid_app, orchid_fleet;

REVOKE USAGE ON SCHEMA public FROM orchid_app, orchid_fleet;

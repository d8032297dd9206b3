DROP TABLE configs;
DROP TABLE config_schemas;
DROP TABLE integrations;

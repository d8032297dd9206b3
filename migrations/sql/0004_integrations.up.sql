CREATE TABLE integrations (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    key            text NOT NULL,
    display_name   text NOT NULL,
    description    text NOT NULL,
    -- Version of the newest config schema; 0 while there is none.
    schema_version integer NOT NULL DEFAULT 0,
    -- Rises with every change: the etag.
    version        bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key)
);

CREATE TABLE config_schemas (
    tenant_id      uuid NOT NULL,
    integration_id uuid NOT NULL,
    version        integer NOT NULL,
    schema         jsonb NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, integration_id, version)
);

CREATE TABLE configs (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    integration_id uuid NOT NULL,
    key            text NOT NULL,
    display_name   text NOT NULL,
    enabled        boolean NOT NULL,
    -- What `config` is in a plan; secret values are not here.
    "values"       jsonb NOT NULL,
    -- The secret values by their JSON pointers, sealed under the tenant's data key.
    secrets        bytea,
    allowed_hosts  jsonb NOT NULL DEFAULT '[]',
    schema_version integer NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, integration_id, key)
);

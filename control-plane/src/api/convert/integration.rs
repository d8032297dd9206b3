//! Converts integrations and config schemas.

use chrono::{DateTime, Utc};
use orchid_proto::v1;
use prost_types::Struct;
use serde_json::Value as Json;
use tonic::Status;
use uuid::Uuid;

use crate::api::{convert, error, request};
use crate::commands::configs::MAX_SCHEMA_BYTES;
use crate::commands::etag::etag;
use crate::commands::integrations::{CreateConfigSchema, CreateIntegration, UpdateIntegration};
use crate::commands::{CommandError, ResourceKey};
use crate::store::integrations::{ConfigSchema, Integration};

/// Decodes an integration to create. The caller has already taken the request id out.
pub(crate) fn create(
    request: v1::CreateIntegrationRequest,
    now: DateTime<Utc>,
) -> Result<CreateIntegration, Status> {
    let v1::CreateIntegrationRequest { key, display_name, description, config_schema, request_id: _ } =
        request;
    let config_schema =
        config_schema.map(|schema| schema_from_wire(&schema, "/config_schema")).transpose()?;
    let key = ResourceKey::parse(&key, "/key")
        .map_err(|fault| error::status(CommandError::invalid("INVALID_INTEGRATION", fault)))?;
    Ok(CreateIntegration { id: Uuid::now_v7(), key, display_name, description, config_schema, now })
}

/// Decodes an update.
pub(crate) fn update(
    request: v1::UpdateIntegrationRequest,
    now: DateTime<Utc>,
) -> Result<UpdateIntegration, Status> {
    let v1::UpdateIntegrationRequest { integration, update_mask } = request;
    let v1::Integration {
        key,
        display_name,
        description,
        config_schema_version: _,
        create_time: _,
        update_time: _,
        etag,
    } = request::required(integration, "/integration")?;
    let fields = ["display_name", "description"];
    let mask = convert::mask(update_mask, &fields, &fields.map(|field| (field, true)))?;
    Ok(UpdateIntegration {
        key,
        etag: request::non_empty(etag),
        display_name: mask.has("display_name").then_some(display_name),
        description: mask.has("description").then_some(description),
        now,
    })
}

/// Decodes a new config schema.
pub(crate) fn create_schema(
    request: v1::CreateConfigSchemaRequest,
    now: DateTime<Utc>,
) -> Result<CreateConfigSchema, Status> {
    let v1::CreateConfigSchemaRequest { integration, schema, request_id: _ } = request;
    let schema = schema_from_wire(&request::required(schema, "/schema")?, "/schema")?;
    Ok(CreateConfigSchema { integration, schema, now })
}

fn schema_from_wire(schema: &Struct, pointer: &str) -> Result<Json, Status> {
    convert::json::from_wire(schema, pointer, MAX_SCHEMA_BYTES)
}

/// Encodes an integration.
pub(crate) fn to_wire(row: Integration) -> v1::Integration {
    let Integration { id, key, display_name, description, schema_version, version, created_at, updated_at } =
        row;
    v1::Integration {
        key,
        display_name,
        description,
        config_schema_version: schema_version,
        create_time: Some(convert::timestamp(created_at)),
        update_time: Some(convert::timestamp(updated_at)),
        etag: etag(id, version),
    }
}

/// Encodes a config schema.
pub(crate) fn schema_to_wire(row: ConfigSchema, integration: &str) -> Result<v1::ConfigSchema, Status> {
    let ConfigSchema { version, schema, created_at } = row;
    Ok(v1::ConfigSchema {
        integration: integration.to_owned(),
        version,
        schema: Some(convert::json::to_wire(&schema)?),
        create_time: Some(convert::timestamp(created_at)),
    })
}

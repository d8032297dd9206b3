//! Converts configs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use orchid_proto::v1;
use serde_json::{Map, Value as Json};
use tonic::Status;
use uuid::Uuid;

use crate::api::{convert, request};
use crate::commands::configs::{
    ClientCertificate, CreateConfig, MAX_VALUES_BYTES, TransportSettings, UpdateConfig,
};
use crate::commands::etag::etag;
use crate::keys::MasterKeys;
use crate::store::configs::Config;

const CAN_CHANGE: [&str; 4] = ["display_name", "enabled", "values", "transport"];

/// Decodes a config to create. Pointers of diagnostics are relative to the config.
pub(crate) fn create(
    config: Option<v1::Config>,
    keys: Arc<MasterKeys>,
    now: DateTime<Utc>,
) -> Result<CreateConfig, Status> {
    let v1::Config {
        id: _,
        integration,
        key,
        display_name,
        enabled,
        values,
        transport,
        config_schema_version: _,
        create_time: _,
        update_time: _,
        etag: _,
    } = request::required(config, "/config")?;
    Ok(CreateConfig {
        id: Uuid::now_v7(),
        integration,
        key,
        display_name,
        enabled: enabled.unwrap_or(true),
        values: values.map_or_else(
            || Ok(Json::Object(Map::new())),
            |values| convert::json::from_wire(&values, "/values", MAX_VALUES_BYTES),
        )?,
        transport: transport.map(transport_from_wire).unwrap_or_default(),
        now,
        keys,
    })
}

/// Decodes an update.
pub(crate) fn update(
    request: v1::UpdateConfigRequest,
    keys: Arc<MasterKeys>,
    now: DateTime<Utc>,
) -> Result<UpdateConfig, Status> {
    let v1::UpdateConfigRequest { config, update_mask } = request;
    let v1::Config {
        id: _,
        integration,
        key,
        display_name,
        enabled,
        values,
        transport,
        config_schema_version: _,
        create_time: _,
        update_time: _,
        etag,
    } = request::required(config, "/config")?;
    let set = [
        ("display_name", !display_name.is_empty()),
        ("enabled", enabled.is_some()),
        ("values", values.is_some()),
        ("transport", transport.is_some()),
    ];
    let mask = convert::mask(update_mask, &CAN_CHANGE, &set)?;
    let values =
        values.map(|values| convert::json::from_wire(&values, "/values", MAX_VALUES_BYTES)).transpose()?;
    Ok(UpdateConfig {
        integration,
        key,
        etag: request::non_empty(etag),
        display_name: mask.has("display_name").then_some(display_name),
        // A field that the mask names and the request leaves unset returns to its default.
        enabled: mask.has("enabled").then_some(enabled.unwrap_or(true)),
        values: mask.has("values").then(|| values.unwrap_or_else(|| Json::Object(Map::new()))),
        transport: mask.has("transport").then(|| transport.map(transport_from_wire).unwrap_or_default()),
        now,
        keys,
    })
}

fn transport_from_wire(transport: v1::Transport) -> TransportSettings {
    let v1::Transport { proxy, ca, client_certificate, allowed_hosts } = transport;
    TransportSettings {
        proxy: request::non_empty(proxy),
        ca: request::non_empty(ca),
        client_certificate: client_certificate
            .map(|v1::ClientCertificate { certificate, key }| ClientCertificate { certificate, key }),
        allowed_hosts,
    }
}

/// Encodes network settings; none if all have their defaults.
fn transport_to_wire(transport: Json) -> Result<Option<v1::Transport>, Status> {
    let transport: TransportSettings =
        serde_json::from_value(transport).map_err(|error| convert::corrupt("configs.transport", error))?;
    if transport == TransportSettings::default() {
        return Ok(None);
    }
    let TransportSettings { proxy, ca, client_certificate, allowed_hosts } = transport;
    Ok(Some(v1::Transport {
        proxy: proxy.unwrap_or_default(),
        ca: ca.unwrap_or_default(),
        client_certificate: client_certificate
            .map(|ClientCertificate { certificate, key }| v1::ClientCertificate { certificate, key }),
        allowed_hosts,
    }))
}

/// Encodes a config, with markers in place of secrets.
pub(crate) fn to_wire(row: Config) -> Result<v1::Config, Status> {
    let Config {
        id,
        integration_id: _,
        integration_key,
        key,
        display_name,
        enabled,
        values,
        transport,
        schema_version,
        version,
        created_at,
        updated_at,
    } = row;
    Ok(v1::Config {
        id: id.to_string(),
        integration: integration_key,
        key,
        display_name,
        enabled: Some(enabled),
        values: Some(convert::json::to_wire(&values)?),
        transport: transport_to_wire(transport)?,
        config_schema_version: schema_version,
        create_time: Some(convert::timestamp(created_at)),
        update_time: Some(convert::timestamp(updated_at)),
        etag: etag(id, version),
    })
}

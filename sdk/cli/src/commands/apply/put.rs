//! Creates or updates one document on the control plane.

use orchid_sdk::json::{from_struct, to_struct};
use orchid_sdk::v1::{
    Config, CreateConfigRequest, CreateConfigSchemaRequest, CreateIntegrationRequest, CreatePlanRequest,
    GetConfigRequest, GetIntegrationRequest, GetPlanRequest, Integration, ListConfigSchemasRequest, Plan,
    UpdateConfigRequest, UpdateIntegrationRequest, UpdatePlanRequest, Warning,
};
use orchid_sdk::{Client, Error};
use prost_types::FieldMask;
use serde_json::Value;
use tonic::{Code, Response, Status};

use super::changes::{self, Changes};
use super::outcome::ApplyOutcome;
use crate::files::document::Document;

/// Creates or updates a document, and returns the outcome with the warnings about a plan that was
/// written. With `dry_run` it writes nothing.
///
/// # Errors
/// When the control plane is unreachable or refuses the document.
pub(super) async fn put(
    client: &Client,
    document: &Document,
    dry_run: bool,
) -> Result<(ApplyOutcome, Vec<Warning>), Error> {
    let outcome = match document {
        Document::Integration { integration, config_schema } => {
            put_integration(client, integration, config_schema.as_ref(), dry_run).await?
        }
        Document::Config(config) => put_config(client, config, dry_run).await?,
        Document::Plan(plan) => return put_plan(client, plan, dry_run).await,
    };
    Ok((outcome, Vec::new()))
}

async fn put_integration(
    client: &Client,
    declared: &Integration,
    schema: Option<&Value>,
    dry_run: bool,
) -> Result<ApplyOutcome, Error> {
    let mut service = client.integrations();
    let key = declared.key.clone();
    let Some(current) = found(service.get_integration(GetIntegrationRequest { key: key.clone() }).await)?
    else {
        if !dry_run {
            let request = CreateIntegrationRequest {
                key,
                display_name: declared.display_name.clone(),
                description: declared.description.clone(),
                config_schema: schema.and_then(|schema| to_struct(schema).ok()),
                ..CreateIntegrationRequest::default()
            };
            service.create_integration(request).await?;
        }
        return Ok(ApplyOutcome::Created);
    };
    let mut changes = changes::integration(declared, &current);
    if !changes.is_empty() && !dry_run {
        let integration = Some(Integration { etag: current.etag, ..declared.clone() });
        let update_mask = mask(&changes);
        service.update_integration(UpdateIntegrationRequest { integration, update_mask }).await?;
    }
    if let Some(schema) = schema {
        put_schema(client, &key, schema, &mut changes, dry_run).await?;
    }
    Ok(outcome(changes))
}

/// Adds a version of the config schema if the newest version differs.
async fn put_schema(
    client: &Client,
    integration: &str,
    schema: &Value,
    changes: &mut Changes,
    dry_run: bool,
) -> Result<(), Error> {
    let mut service = client.integrations();
    let request = ListConfigSchemasRequest {
        integration: integration.to_owned(),
        page_size: 1,
        ..ListConfigSchemasRequest::default()
    };
    let newest = service.list_config_schemas(request).await?.into_inner().config_schemas.into_iter().next();
    let current = newest.and_then(|newest| newest.schema).and_then(|schema| from_struct(&schema).ok());
    let before = changes.fields.len();
    changes.note_json("config_schema", schema, &current.unwrap_or_default());
    if changes.fields.len() > before && !dry_run {
        let request = CreateConfigSchemaRequest {
            integration: integration.to_owned(),
            schema: to_struct(schema).ok(),
            ..CreateConfigSchemaRequest::default()
        };
        service.create_config_schema(request).await?;
    }
    Ok(())
}

async fn put_config(client: &Client, declared: &Config, dry_run: bool) -> Result<ApplyOutcome, Error> {
    let mut service = client.configs();
    let get = GetConfigRequest { integration: declared.integration.clone(), key: declared.key.clone() };
    let Some(current) = found(service.get_config(get).await)? else {
        if !dry_run {
            let config = Some(declared.clone());
            service.create_config(CreateConfigRequest { config, ..CreateConfigRequest::default() }).await?;
        }
        return Ok(ApplyOutcome::Created);
    };
    let changes = changes::config(declared, &current);
    // The control plane masks secrets, so a changed secret is invisible: write them every time.
    let secrets = changes::secret_fields(declared, &current);
    if (!changes.is_empty() || !secrets.is_empty()) && !dry_run {
        let mut update_mask = mask(&changes).unwrap_or_default();
        let masked = secrets.into_iter().filter(|field| !changes.fields.contains(field));
        update_mask.paths.extend(masked.map(str::to_owned));
        let config = Some(Config { etag: current.etag, ..declared.clone() });
        service.update_config(UpdateConfigRequest { config, update_mask: Some(update_mask) }).await?;
    }
    Ok(outcome(changes))
}

async fn put_plan(
    client: &Client,
    declared: &Plan,
    dry_run: bool,
) -> Result<(ApplyOutcome, Vec<Warning>), Error> {
    let mut service = client.plans();
    let mut warnings = Vec::new();
    let Some(current) = found(service.get_plan(GetPlanRequest { key: declared.key.clone() }).await)? else {
        if !dry_run {
            let plan = Some(declared.clone());
            let request = CreatePlanRequest { plan, ..CreatePlanRequest::default() };
            warnings = service.create_plan(request).await?.into_inner().warnings;
        }
        return Ok((ApplyOutcome::Created, warnings));
    };
    let changes = changes::plan(declared, &current)
        .map_err(|unknown| Status::internal(format!("plan {}: {unknown}", declared.key)))?;
    if !changes.is_empty() && !dry_run {
        let plan = Some(Plan { etag: current.etag, ..declared.clone() });
        let request = UpdatePlanRequest { plan, update_mask: mask(&changes) };
        warnings = service.update_plan(request).await?.into_inner().warnings;
    }
    Ok((outcome(changes), warnings))
}

/// Returns `None` for the status `NOT_FOUND`.
fn found<T>(result: Result<Response<T>, Status>) -> Result<Option<T>, Error> {
    match result {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

fn mask(changes: &Changes) -> Option<FieldMask> {
    Some(FieldMask { paths: changes.fields.iter().map(|&field| field.to_owned()).collect() })
}

fn outcome(Changes { fields, diff }: Changes) -> ApplyOutcome {
    if fields.is_empty() { ApplyOutcome::Unchanged } else { ApplyOutcome::Changed { fields, diff } }
}

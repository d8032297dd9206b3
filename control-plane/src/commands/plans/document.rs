//! Plan documents: built from a request or a stored plan, checked by the plan language, and checked
//! against the integration and the configs that they refer to.

use orchid_common::suggest::closest;
use orchid_plan::{PlanHeader, ServerLimits, Warning};
use serde_json::Value as Json;

use crate::{
    commands::{CommandError, Diagnostic, configs::declared_secrets},
    store::{
        configs::{self, ConfigName},
        db::TenantTx,
        error::StoreError,
        integrations::{self, Integration},
        plans::Plan,
    },
};

/// A change of some fields of a plan.
#[derive(Debug, Clone, Default)]
pub struct PlanChanges {
    /// Values of the fields that change. A field that changes and is unset here goes back to its
    /// default.
    pub header: PlanHeader,
    /// Names of the header fields that change.
    pub fields: Vec<&'static str>,
    /// The new definition, if it changes.
    pub definition: Option<Json>,
}

impl PlanChanges {
    fn changes(&self, field: &str) -> bool {
        self.fields.contains(&field)
    }
}

/// A plan document that has not been checked.
#[derive(Debug, Clone)]
pub struct PlanDocument(Json);

/// A document that was found valid.
pub(super) struct CheckedDocument {
    pub(super) header: PlanHeader,
    /// Warnings about the definition.
    pub(super) warnings: Vec<Warning>,
}

impl PlanDocument {
    /// Creates the document of a new plan.
    pub fn new(header: &PlanHeader, definition: Option<Json>) -> Self {
        let mut document = header.to_members();
        if let Some(definition) = definition {
            document.insert("definition".to_owned(), definition);
        }
        Self(Json::Object(document))
    }

    /// Creates the document of a stored plan with changes applied.
    ///
    /// # Errors
    /// Fails if the stored plan does not read.
    pub(super) fn changed(row: &Plan, changes: &PlanChanges) -> Result<Self, StoreError> {
        let mut header = row.header()?;
        // A cron expression and a wait exclude each other, so a stored one gives way to the one
        // that the change sets. If the change sets both, both stay, and the check reports them.
        let by_cron = if changes.changes("cron") {
            changes.header.cron.is_some()
        } else if changes.changes("wait_seconds") && changes.header.wait_seconds.is_some() {
            false
        } else {
            row.cron.is_some()
        };
        if by_cron {
            header.wait_seconds = None;
        } else {
            header.wait_seconds = Some(row.wait_seconds);
            (header.cron, header.timezone, header.spread_seconds) = (None, None, None);
        }
        let mut document = header.to_members();
        let mut new = changes.header.to_members();
        for &field in &changes.fields {
            match new.remove(field) {
                Some(value) => drop(document.insert(field.to_owned(), value)),
                None => drop(document.remove(field)),
            }
        }
        let definition = changes.definition.as_ref().unwrap_or(&row.definition);
        document.insert("definition".to_owned(), definition.clone());
        Ok(Self(Json::Object(document)))
    }

    pub(super) fn definition(&self) -> Json {
        self.0.get("definition").cloned().unwrap_or_default()
    }

    /// Checks the document and its references, and locks the integration.
    ///
    /// # Errors
    /// Fails with all problems of the document at once, or if the database cannot be read.
    pub(super) async fn check(
        &self,
        tx: &TenantTx,
        limits: &ServerLimits,
    ) -> Result<(CheckedDocument, Integration, Vec<ConfigName>), CommandError> {
        let mut diagnostics = Vec::new();
        let plan = orchid_plan::check(&self.0, limits);
        let integration = self.integration(tx, &mut diagnostics).await?;
        let checked = match plan {
            Ok(plan) => {
                diagnostics.extend(secret_diagnostics(tx, &plan, integration.as_ref()).await?);
                let orchid_plan::Plan { header, definition } = plan;
                Some(CheckedDocument { header, warnings: definition.warnings() })
            }
            Err(found) => {
                diagnostics.extend(found.0.into_iter().map(Diagnostic::from));
                None
            }
        };
        let names = match &integration {
            Some(integration) => configs::names(tx, integration.id).await?,
            None => Vec::new(),
        };
        if integration.is_some() {
            self.check_configs(&names, &mut diagnostics);
        }
        match (checked, integration) {
            (Some(checked), Some(integration)) if diagnostics.is_empty() => Ok((checked, integration, names)),
            _ => Err(CommandError::invalid_document("INVALID_PLAN", "the plan", diagnostics)),
        }
    }

    async fn integration(
        &self,
        tx: &TenantTx,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Option<Integration>, CommandError> {
        let Some(key) = self.0.get("integration").and_then(Json::as_str) else { return Ok(None) };
        let found = integrations::lock_by_key(tx, key).await?;
        if found.is_none() {
            let known = integrations::keys(tx).await?;
            let diagnostic = Diagnostic::new(
                "UNKNOWN_REFERENCE",
                "/integration",
                format!("integration {key:?} does not exist"),
            );
            diagnostics.push(diagnostic.suggest(closest(key, known.iter().map(String::as_str))));
        }
        Ok(found)
    }

    fn check_configs(&self, names: &[ConfigName], diagnostics: &mut Vec<Diagnostic>) {
        let listed = self.0.get("configs").and_then(Json::as_array);
        for (index, key) in listed.into_iter().flatten().enumerate() {
            let Some(key) = key.as_str() else { continue };
            if names.iter().any(|config| config.key == key) {
                continue;
            }
            let message = format!("config {key:?} does not exist in the integration");
            let near = closest(key, names.iter().map(|config| config.key.as_str()));
            diagnostics.push(
                Diagnostic::new("UNKNOWN_REFERENCE", format!("/configs/{index}"), message).suggest(near),
            );
        }
    }
}

/// Returns diagnostics for expressions that would carry a secret of the config into messages or the
/// context.
async fn secret_diagnostics(
    tx: &TenantTx,
    plan: &orchid_plan::Plan,
    integration: Option<&Integration>,
) -> Result<Vec<Diagnostic>, CommandError> {
    let Some(integration) = integration else { return Ok(Vec::new()) };
    let Some(schema) = integrations::newest_schema(tx, integration.id).await? else { return Ok(Vec::new()) };
    let diagnostics = plan.definition.secret_diagnostics(&declared_secrets(&schema.schema));
    Ok(diagnostics.into_iter().map(Diagnostic::from).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::plans::PlanIdentity;

    #[test]
    fn new_document_holds_only_what_was_sent() {
        let header = PlanHeader { key: "p".to_owned(), enabled: Some(true), ..PlanHeader::default() };
        let document = PlanDocument::new(&header, Some(json!({"step": {}})));
        assert_eq!(document.0, json!({"key": "p", "enabled": true, "definition": {"step": {}}}));
    }

    /// Returns the fields of a changed plan that say when it runs.
    fn timing(row: &Plan, changes: &PlanChanges) -> Json {
        let Json::Object(mut document) = PlanDocument::changed(row, changes).unwrap().0 else {
            panic!("an object")
        };
        document.retain(|name, _| {
            ["wait_seconds", "cron", "timezone", "spread_seconds"].contains(&name.as_str())
        });
        Json::Object(document)
    }

    #[test]
    fn wait_and_cron_replace_each_other() {
        let identity = PlanIdentity {
            key: "p".to_owned(),
            integration_id: uuid::Uuid::nil(),
            integration_key: "shop".to_owned(),
        };
        let header = PlanHeader { wait_seconds: Some(60), enabled: Some(true), ..PlanHeader::default() };
        let now = chrono::DateTime::UNIX_EPOCH;
        let waits = Plan::new(uuid::Uuid::nil(), identity, header, json!({}), now);
        let by_cron = Plan {
            cron: Some("0 5 * * *".to_owned()),
            timezone: Some("Europe/Berlin".to_owned()),
            spread_seconds: Some(60),
            ..waits.clone()
        };
        let cron = |text: Option<&str>| PlanChanges {
            header: PlanHeader { cron: text.map(str::to_owned), ..PlanHeader::default() },
            fields: vec!["cron"],
            ..PlanChanges::default()
        };
        let wait = |seconds| PlanChanges {
            header: PlanHeader { wait_seconds: seconds, ..PlanHeader::default() },
            fields: vec!["wait_seconds"],
            ..PlanChanges::default()
        };
        let both = PlanChanges {
            header: PlanHeader {
                wait_seconds: Some(5),
                cron: Some("* * * * *".to_owned()),
                ..PlanHeader::default()
            },
            fields: vec!["cron", "wait_seconds"],
            ..PlanChanges::default()
        };
        let whole = json!({"cron": "0 5 * * *", "timezone": "Europe/Berlin", "spread_seconds": 60});
        let cases = [
            (&waits, PlanChanges::default(), json!({"wait_seconds": 60})),
            (&by_cron, PlanChanges::default(), whole.clone()),
            (&waits, cron(Some("* * * * *")), json!({"cron": "* * * * *"})),
            (&by_cron, wait(Some(5)), json!({"wait_seconds": 5})),
            (&by_cron, wait(None), whole),
            (&by_cron, cron(None), json!({"wait_seconds": 60})),
            (&waits, both, json!({"wait_seconds": 5, "cron": "* * * * *"})),
        ];
        for (row, changes, expected) in cases {
            assert_eq!(timing(row, &changes), expected, "{changes:?}");
        }
    }
}

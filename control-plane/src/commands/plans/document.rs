//! Plan documents: built from a request or a stored plan, checked by the plan language, and checked
//! against the integration and the configs that they refer to.

use orchid_common::suggest::closest;
use orchid_plan::{PlanHeader, ServerLimits, Warning};
use serde_json::Value as Json;

use crate::{
    commands::{CommandError, Diagnostic, configs::declared_secrets},
    store::{
        configs,
        db::TenantTx,
        error::StoreError,
        integrations::{self, Integration},
        plans::Plan,
    },
};

/// Maximum number of listed configs that are looked up.
const MAX_CONFIGS: usize = 1000;

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

/// Rows that a document refers to.
#[derive(Default)]
pub struct PlanReferences {
    integration: Option<Integration>,
    /// Newest config schema of the integration.
    schema: Option<Json>,
    /// Listed configs that do not exist, with their place in the list.
    unknown_configs: Vec<(usize, String)>,
    /// Keys of integrations and of configs, for suggestions.
    known_integrations: Vec<String>,
    known_configs: Vec<String>,
}

/// A document that was found valid.
pub struct CheckedDocument {
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

    /// Reads what the document refers to, without locks.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) async fn references(&self, tx: &TenantTx) -> Result<PlanReferences, CommandError> {
        let mut found = PlanReferences::default();
        let Some(key) = self.0.get("integration").and_then(Json::as_str) else { return Ok(found) };
        let Some(integration) = integrations::by_key(tx, key).await? else {
            found.known_integrations = integrations::keys(tx).await?;
            return Ok(found);
        };
        found.schema = integrations::newest_schema(tx, integration.id).await?.map(|schema| schema.schema);
        found.unknown_configs = self.unknown_configs(tx, &integration).await?;
        if !found.unknown_configs.is_empty() {
            found.known_configs = configs::keys(tx, integration.id).await?;
        }
        found.integration = Some(integration);
        Ok(found)
    }

    /// Checks the document and its references.
    ///
    /// # Errors
    /// Fails with all problems of the document at once.
    pub(super) fn check(
        &self,
        references: &PlanReferences,
        limits: &ServerLimits,
    ) -> Result<CheckedDocument, CommandError> {
        let mut diagnostics = Vec::new();
        if references.integration.is_none()
            && let Some(key) = self.0.get("integration").and_then(Json::as_str)
        {
            let message = format!("integration {key:?} does not exist");
            let near = closest(key, references.known_integrations.iter().map(String::as_str));
            diagnostics.push(Diagnostic::new("UNKNOWN_REFERENCE", "/integration", message).suggest(near));
        }
        let checked = match orchid_plan::check(&self.0, limits) {
            Ok(orchid_plan::Plan { header, definition }) => {
                if let Some(schema) = &references.schema {
                    let found = definition.secret_diagnostics(&declared_secrets(schema));
                    diagnostics.extend(found.into_iter().map(Diagnostic::from));
                }
                Some(CheckedDocument { header, warnings: definition.warnings() })
            }
            Err(found) => {
                diagnostics.extend(found.0.into_iter().map(Diagnostic::from));
                None
            }
        };
        for (index, key) in &references.unknown_configs {
            let message = format!("config {key:?} does not exist in the integration");
            let near = closest(key, references.known_configs.iter().map(String::as_str));
            let pointer = format!("/configs/{index}");
            diagnostics.push(Diagnostic::new("UNKNOWN_REFERENCE", pointer, message).suggest(near));
        }
        match checked {
            Some(checked) if diagnostics.is_empty() => Ok(checked),
            _ => Err(CommandError::invalid_document("INVALID_PLAN", "the plan", diagnostics)),
        }
    }

    /// Locks the integration and returns it, if the references are still those that the document
    /// was checked against.
    ///
    /// # Errors
    /// Fails if they are not, or if the database does.
    pub(super) async fn lock(
        &self,
        tx: &TenantTx,
        references: &PlanReferences,
    ) -> Result<Integration, CommandError> {
        let checked = references.integration.as_ref().ok_or(CommandError::BasisChanged)?;
        let integration = integrations::lock_by_key(tx, &checked.key).await?;
        let is_same =
            |found: &Integration| found.id == checked.id && found.schema_version == checked.schema_version;
        let integration = integration.filter(is_same).ok_or(CommandError::BasisChanged)?;
        if !self.unknown_configs(tx, &integration).await?.is_empty() {
            return Err(CommandError::BasisChanged);
        }
        Ok(integration)
    }

    /// Returns the listed configs that do not exist in the integration, with their place in the
    /// list.
    async fn unknown_configs(
        &self,
        tx: &TenantTx,
        integration: &Integration,
    ) -> Result<Vec<(usize, String)>, StoreError> {
        let listed = self.0.get("configs").and_then(Json::as_array).into_iter().flatten();
        // The check of the document refuses a longer list.
        let listed = listed.take(MAX_CONFIGS).enumerate();
        let mut listed: Vec<(usize, String)> =
            listed.filter_map(|(index, key)| Some((index, key.as_str()?.to_owned()))).collect();
        if !listed.is_empty() {
            let keys = listed.iter().map(|(_, key)| key.clone()).collect();
            let existing = configs::existing(tx, integration.id, keys).await?;
            listed.retain(|(_, key)| !existing.contains(key));
        }
        Ok(listed)
    }
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

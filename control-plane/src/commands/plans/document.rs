//! A plan as it is written: a JSON document that the plan language checks whole, and whose references are looked up.

use orchid_common::suggest::closest;
use orchid_plan::{CatchUpPolicy, Configs, OverlapPolicy, ServerLimits, Timing, Warning};
use serde_json::{Map, Value as Json, json};

use crate::{
    commands::{CommandError, Diagnostic, configs::declared_secrets},
    store::{
        configs::{self, ConfigName},
        db::TenantTx,
        integrations::{self, Integration},
        plans::Plan,
    },
};

/// What the column holds of a plan that does not wait.
const DEFAULT_WAIT_SECONDS: i32 = 300;

/// What of a plan can change; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct PlanChanges {
    /// Keys of its configs; empty: all of the integration's.
    pub configs: Option<Vec<String>>,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether the scheduler runs it.
    pub enabled: Option<bool>,
    /// Seconds from the end of one run to the start of the next; none inside: the default.
    pub wait_seconds: Option<Option<i32>>,
    /// When it runs, instead; none inside: it waits.
    pub cron: Option<Option<String>>,
    /// IANA zone of `cron`; none inside: the default.
    pub timezone: Option<Option<String>>,
    /// The configs' offsets are below this; none inside: the default.
    pub spread_seconds: Option<Option<i32>>,
    /// `skip` or `queue`.
    pub overlap: Option<&'static str>,
    /// `run_once`, `skip` or `run_each`.
    pub catch_up: Option<&'static str>,
    /// Scheduled runs per config; none inside: no end.
    pub repeat_count: Option<Option<i32>>,
    /// 0 to 9; none inside: the default.
    pub priority: Option<Option<i32>>,
    /// What a run does.
    pub definition: Option<Json>,
}

/// A plan document that is not checked yet.
#[derive(Debug, Clone)]
pub struct PlanDocument(Json);

/// What a checked document says, defaults applied.
pub(super) struct Checked {
    pub(super) configs: Option<Json>,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) enabled: bool,
    pub(super) timing: StoredTiming,
    pub(super) overlap: &'static str,
    pub(super) catch_up: &'static str,
    pub(super) repeat_count: Option<i32>,
    pub(super) priority: i16,
    /// What is allowed, and probably not meant.
    pub(super) warnings: Vec<Warning>,
}

/// When a plan runs, as its columns hold it.
pub(super) struct StoredTiming {
    /// The default where there is a cron text.
    pub(super) wait_seconds: i32,
    /// As they were written.
    pub(super) cron: Option<String>,
    pub(super) timezone: Option<String>,
    pub(super) spread_seconds: Option<i32>,
}

impl PlanDocument {
    /// A new plan.
    pub fn new(key: &str, integration: &str, changes: &PlanChanges) -> Self {
        let mut document = Map::new();
        for (name, text) in [("key", key), ("integration", integration)] {
            if !text.is_empty() {
                document.insert(name.to_owned(), Json::from(text));
            }
        }
        lay_over(&mut document, changes);
        Self(Json::Object(document))
    }

    /// A plan as it is stored, with changes laid over.
    pub(super) fn changed(row: &Plan, changes: &PlanChanges) -> Self {
        let mut document = Map::new();
        let mut set = |name: &str, value: Json| document.insert(name.to_owned(), value);
        set("key", json!(row.key));
        set("integration", json!(row.integration_key));
        if let Some(configs) = &row.configs {
            set("configs", configs.clone());
        }
        set("name", json!(row.name));
        set("description", json!(row.description));
        set("enabled", json!(row.enabled));
        // Of the two that stand for each other, the stored one gives way.
        let by_cron = match (&changes.cron, &changes.wait_seconds) {
            (Some(cron), _) => cron.is_some(),
            (None, Some(Some(_))) => false,
            (None, Some(None) | None) => row.cron.is_some(),
        };
        if by_cron {
            let spread_seconds = row.spread_seconds.map(Json::from);
            let texts = [("cron", &row.cron), ("timezone", &row.timezone)];
            let texts = texts.map(|(name, text)| (name, text.as_deref().map(Json::from)));
            for (name, value) in texts.into_iter().chain([("spread_seconds", spread_seconds)]) {
                value.map(|value| set(name, value));
            }
        } else {
            set("wait_seconds", json!(row.wait_seconds));
        }
        set("overlap", json!(row.overlap));
        set("catch_up", json!(row.catch_up));
        if let Some(count) = row.repeat_count {
            set("repeat_count", json!(count));
        }
        set("priority", json!(row.priority));
        set("definition", row.definition.clone());
        lay_over(&mut document, changes);
        Self(Json::Object(document))
    }

    pub(super) fn definition(&self) -> Json {
        self.0.get("definition").cloned().unwrap_or_default()
    }

    /// Checks the document and what it refers to, all diagnostics at once. Locks the integration.
    pub(super) async fn check(
        &self,
        tx: &TenantTx,
        limits: &ServerLimits,
    ) -> Result<(Checked, Integration, Vec<ConfigName>), CommandError> {
        let mut diagnostics = Vec::new();
        let plan = orchid_plan::check(&self.0, limits);
        let integration = self.integration(tx, &mut diagnostics).await?;
        let checked = match plan {
            Ok(plan) => {
                diagnostics.extend(kept_secrets(tx, &plan, integration.as_ref()).await?);
                Some(Checked::from_plan(plan, &self.0))
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
            self.config_faults(&names, &mut diagnostics);
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
                format!("there is no integration {key:?}"),
            );
            diagnostics.push(diagnostic.suggest(closest(key, known.iter().map(String::as_str))));
        }
        Ok(found)
    }

    fn config_faults(&self, names: &[ConfigName], diagnostics: &mut Vec<Diagnostic>) {
        let listed = self.0.get("configs").and_then(Json::as_array);
        for (index, key) in listed.into_iter().flatten().enumerate() {
            let Some(key) = key.as_str() else { continue };
            if names.iter().any(|config| config.key == key) {
                continue;
            }
            let message = format!("the integration has no config {key:?}");
            let near = closest(key, names.iter().map(|config| config.key.as_str()));
            diagnostics.push(
                Diagnostic::new("UNKNOWN_REFERENCE", format!("/configs/{index}"), message).suggest(near),
            );
        }
    }
}

/// Faults of expressions that would carry a secret of the config into messages or the context.
async fn kept_secrets(
    tx: &TenantTx,
    plan: &orchid_plan::Plan,
    integration: Option<&Integration>,
) -> Result<Vec<Diagnostic>, CommandError> {
    let Some(integration) = integration else { return Ok(Vec::new()) };
    let Some(schema) = integrations::newest_schema(tx, integration.id).await? else { return Ok(Vec::new()) };
    let diagnostics = plan.definition.secret_diagnostics(&declared_secrets(&schema.schema));
    Ok(diagnostics.into_iter().map(Diagnostic::from).collect())
}

/// When a plan runs, from a document that was checked. Its texts stay as they were written: what is read back is what was sent.
fn stored_timing(timing: &Timing, document: &Json) -> StoredTiming {
    // All numbers came as 32 bits.
    let narrow = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    match timing {
        Timing::Wait { seconds } => {
            StoredTiming { wait_seconds: narrow(*seconds), cron: None, timezone: None, spread_seconds: None }
        }
        Timing::Cron(times) => {
            let text = |name| document.get(name).and_then(Json::as_str).map(str::to_owned);
            StoredTiming {
                wait_seconds: DEFAULT_WAIT_SECONDS,
                cron: text("cron"),
                timezone: text("timezone"),
                spread_seconds: document.get("spread_seconds").map(|_| narrow(times.spread_seconds)),
            }
        }
    }
}

impl Checked {
    fn from_plan(plan: orchid_plan::Plan, document: &Json) -> Self {
        let orchid_plan::Plan {
            key: _,
            integration: _,
            configs,
            name,
            description,
            enabled,
            timing,
            overlap,
            catch_up,
            repeat_count,
            priority,
            definition,
        } = plan;
        Self {
            configs: match configs {
                Configs::All => None,
                Configs::Keys(keys) => Some(json!(keys)),
            },
            name: name.unwrap_or_default(),
            description: description.unwrap_or_default(),
            enabled,
            timing: stored_timing(&timing, document),
            overlap: match overlap {
                OverlapPolicy::Skip => "skip",
                OverlapPolicy::Queue => "queue",
            },
            catch_up: match catch_up {
                CatchUpPolicy::RunOnce => "run_once",
                CatchUpPolicy::Skip => "skip",
                CatchUpPolicy::RunEach => "run_each",
            },
            repeat_count: repeat_count.map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
            priority: i16::from(priority),
            warnings: definition.warnings(),
        }
    }
}

fn lay_over(document: &mut Map<String, Json>, changes: &PlanChanges) {
    let PlanChanges {
        configs,
        name,
        description,
        enabled,
        wait_seconds,
        cron,
        timezone,
        spread_seconds,
        overlap,
        catch_up,
        repeat_count,
        priority,
        definition,
    } = changes;
    let mut set = |name: &str, value: Option<Json>| match value {
        Some(value) => drop(document.insert(name.to_owned(), value)),
        None => drop(document.remove(name)),
    };
    if let Some(configs) = configs {
        set("configs", (!configs.is_empty()).then(|| json!(configs)));
    }
    for (field, text) in [("name", name), ("description", description)] {
        if let Some(text) = text {
            set(field, Some(json!(text)));
        }
    }
    if let Some(enabled) = enabled {
        set("enabled", Some(json!(enabled)));
    }
    for (field, name) in [("overlap", overlap), ("catch_up", catch_up)] {
        if let Some(name) = name {
            set(field, Some(json!(name)));
        }
    }
    for (field, text) in [("cron", cron), ("timezone", timezone)] {
        if let Some(text) = text {
            set(field, text.as_deref().map(Json::from));
        }
    }
    for (field, number) in [
        ("wait_seconds", wait_seconds),
        ("spread_seconds", spread_seconds),
        ("repeat_count", repeat_count),
        ("priority", priority),
    ] {
        if let Some(number) = number {
            set(field, number.map(|number| json!(number)));
        }
    }
    if let Some(definition) = definition {
        set("definition", Some(definition.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_document_holds_what_was_sent_and_nothing_else() {
        let changes = PlanChanges {
            enabled: Some(true),
            definition: Some(json!({"step": {}})),
            wait_seconds: Some(None),
            ..PlanChanges::default()
        };
        let document = PlanDocument::new("p", "", &changes);
        assert_eq!(document.0, json!({"key": "p", "enabled": true, "definition": {"step": {}}}));
    }

    /// What of a changed plan says when it runs.
    fn timing(row: &Plan, changes: &PlanChanges) -> Json {
        let Json::Object(mut document) = PlanDocument::changed(row, changes).0 else { panic!("an object") };
        document.retain(|name, _| {
            ["wait_seconds", "cron", "timezone", "spread_seconds"].contains(&name.as_str())
        });
        Json::Object(document)
    }

    #[test]
    fn of_a_wait_and_a_cron_text_the_one_that_is_set_last_stays() {
        let waits = Plan {
            id: uuid::Uuid::nil(),
            integration_id: uuid::Uuid::nil(),
            integration_key: "shop".to_owned(),
            key: "p".to_owned(),
            name: String::new(),
            description: String::new(),
            enabled: true,
            configs: None,
            wait_seconds: 60,
            cron: None,
            timezone: None,
            spread_seconds: None,
            overlap: "skip".to_owned(),
            catch_up: "run_once".to_owned(),
            repeat_count: None,
            priority: 5,
            revision: 1,
            definition: json!({}),
            version: 1,
            created_at: chrono::DateTime::UNIX_EPOCH,
            updated_at: chrono::DateTime::UNIX_EPOCH,
        };
        let by_cron = Plan {
            cron: Some("0 5 * * *".to_owned()),
            timezone: Some("Europe/Berlin".to_owned()),
            spread_seconds: Some(60),
            ..waits.clone()
        };
        let cron = |text: Option<&str>| PlanChanges {
            cron: Some(text.map(str::to_owned)),
            ..PlanChanges::default()
        };
        let wait = |seconds| PlanChanges { wait_seconds: Some(seconds), ..PlanChanges::default() };
        let whole = json!({"cron": "0 5 * * *", "timezone": "Europe/Berlin", "spread_seconds": 60});
        let cases = [
            (&waits, PlanChanges::default(), json!({"wait_seconds": 60})),
            (&by_cron, PlanChanges::default(), whole.clone()),
            (&waits, cron(Some("* * * * *")), json!({"cron": "* * * * *"})),
            (&by_cron, wait(Some(5)), json!({"wait_seconds": 5})),
            (&by_cron, wait(None), whole),
            (&by_cron, cron(None), json!({"wait_seconds": 60})),
            // Both at once are both kept: the plan language says what is wrong with that.
            (
                &waits,
                PlanChanges { wait_seconds: Some(Some(5)), ..cron(Some("* * * * *")) },
                json!({"wait_seconds": 5, "cron": "* * * * *"}),
            ),
        ];
        for (row, changes, expected) in cases {
            assert_eq!(timing(row, &changes), expected, "{changes:?}");
        }
    }
}

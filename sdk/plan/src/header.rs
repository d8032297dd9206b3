//! The header of a plan: every field of the document except its definition.
//!
//! This file is the only place of the plan language that lists these fields: their types, how they
//! are read and checked, and how the JSON Schema describes them. The CLI, the gRPC messages and the
//! database convert to and from [`PlanHeader`], each in one file that names every field.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::diagnostic::{Diagnostic, DiagnosticCode};
use crate::document::context::ReadContext;
use crate::document::object::{self, ObjectReader, wrong_type};
use crate::document::schedule;
use crate::schema::build::{boolean, choice, integer, key, names, text, with};

/// Maximum size of a name, in bytes.
const NAME_MAX_BYTES: usize = 200;
/// Maximum size of a description, in bytes.
const DESCRIPTION_MAX_BYTES: usize = 4096;
/// Maximum number of configs that a plan may list.
const CONFIGS_MAX: usize = 1000;
/// Maximum number of seconds or executions: the database stores 32-bit integers.
const COUNT_MAX: u64 = 2_147_483_647;
/// Highest priority.
const PRIORITY_MAX: u64 = 9;

/// The fields of a plan around its definition, as its author wrote them.
///
/// An absent field has its default. A header that [`crate::check`] returns is valid; one that was
/// converted from a message or a row need not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlanHeader {
    /// Stable name, unique in a tenant; empty if it was left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Key of the polled integration; empty if it was left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub integration: String,
    /// Keys of the configs that the plan runs for. Empty means all configs of the integration,
    /// including those created later.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<String>,
    /// Display name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Description for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether the scheduler runs the plan; false by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Seconds from the end of one execution to the start of the next, per config;
    /// [`Self::DEFAULT_WAIT_SECONDS`] by default. Not allowed together with `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<i32>,
    /// Cron expression with 5 fields, or with 6 where seconds come first. It has at least one
    /// occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// IANA time zone of `cron`; UTC by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Length in seconds of the period over which the configs of a cron plan are spread; 0 by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_seconds: Option<i32>,
    /// Treatment of an execution that becomes due while another one is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<OverlapPolicy>,
    /// Treatment of occurrences that were missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUpPolicy>,
    /// Number of scheduled executions per config after which the schedule ends; unlimited by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_count: Option<i32>,
    /// 0 to 9, higher first; [`Self::DEFAULT_PRIORITY`] by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// Treatment of an execution that becomes due while another one of the same plan and config is
/// active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlapPolicy {
    /// Drops it.
    #[default]
    Skip,
    /// Starts it as soon as the active one has ended.
    Queue,
}

/// Treatment of the occurrences of a cron schedule that passed while the plan could not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpPolicy {
    /// Runs once for all of them.
    #[default]
    RunOnce,
    /// Drops them.
    Skip,
    /// Runs once for each of the latest 100.
    RunEach,
}

impl OverlapPolicy {
    /// All policies by their names in documents.
    pub const NAMES: [(&'static str, Self); 2] = [("skip", Self::Skip), ("queue", Self::Queue)];

    /// Returns the policy with a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, policy)| policy)
    }

    /// Returns the name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
        }
    }
}

impl CatchUpPolicy {
    /// All policies by their names in documents.
    pub const NAMES: [(&'static str, Self); 3] =
        [("run_once", Self::RunOnce), ("skip", Self::Skip), ("run_each", Self::RunEach)];

    /// Returns the policy with a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, policy)| policy)
    }

    /// Returns the name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RunOnce => "run_once",
            Self::Skip => "skip",
            Self::RunEach => "run_each",
        }
    }
}

impl PlanHeader {
    /// The names of all fields, in the order in which diagnostics report them.
    pub const FIELDS: [&'static str; 14] = [
        "key",
        "integration",
        "configs",
        "name",
        "description",
        "enabled",
        "wait_seconds",
        "cron",
        "timezone",
        "spread_seconds",
        "overlap",
        "catch_up",
        "repeat_count",
        "priority",
    ];

    /// Default of `wait_seconds`.
    pub const DEFAULT_WAIT_SECONDS: i32 = 300;
    /// Default of `priority`.
    pub const DEFAULT_PRIORITY: i32 = 5;

    /// Returns the fields that can change after the plan was created.
    pub fn changeable_fields() -> impl Iterator<Item = &'static str> {
        Self::FIELDS.into_iter().filter(|field| !matches!(*field, "key" | "integration"))
    }

    /// Returns the fields that are set, as members of a plan document.
    #[must_use]
    pub fn to_members(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            // A struct of texts and numbers serializes to an object.
            _ => Map::new(),
        }
    }

    /// Reads and checks the header of a plan document. Reports every problem; returns `None` if
    /// the document cannot become a plan.
    pub(crate) fn read(plan: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<Self> {
        let key = required_key(plan, "key", context);
        let integration = required_key(plan, "integration", context);
        let configs = configs(plan, context);
        let name = plan.short_text("name", NAME_MAX_BYTES, context);
        let description = plan.short_text("description", DESCRIPTION_MAX_BYTES, context);
        let enabled = plan.boolean("enabled", context);
        let wait_seconds = plan.count("wait_seconds", 1..=COUNT_MAX, context);
        let cron = schedule::cron(plan, context);
        let timezone = schedule::timezone(plan, context);
        let spread_seconds = plan.count("spread_seconds", 0..=schedule::SPREAD_MAX_SECONDS, context);
        schedule::check_combination(plan, context);
        Some(Self {
            name: name.unwrap_or_default(),
            description: description.unwrap_or_default(),
            enabled,
            wait_seconds,
            cron,
            timezone,
            spread_seconds,
            overlap: plan.choice("overlap", &OverlapPolicy::NAMES, context),
            catch_up: plan.choice("catch_up", &CatchUpPolicy::NAMES, context),
            repeat_count: plan.count("repeat_count", 1..=COUNT_MAX, context),
            priority: plan.count("priority", 0..=PRIORITY_MAX, context),
            key: key?,
            integration: integration?,
            configs: configs?,
        })
    }

    /// Returns the JSON Schema of a field.
    pub(crate) fn field_schema(field: &str) -> Value {
        match field {
            "key" => key("Stable name, unique in the tenant"),
            "integration" => key("Key of the polled integration"),
            "configs" => json!({
                "description": "Configs of the integration that the plan runs for: all, or those with these keys",
                "anyOf": [
                    {"const": "all"},
                    {
                        "type": "array",
                        "items": key("Key of a config"),
                        "minItems": 1,
                        "maxItems": CONFIGS_MAX,
                        "uniqueItems": true,
                    },
                ],
                "default": "all",
            }),
            "name" => with(text("Display name"), "maxLength", NAME_MAX_BYTES),
            "description" => with(text("Description for people"), "maxLength", DESCRIPTION_MAX_BYTES),
            "enabled" => boolean("Whether the scheduler runs the plan", false),
            "wait_seconds" => {
                let words = "Seconds from the end of one execution to the start of the next, per config";
                with(integer(words, 1, COUNT_MAX), "default", Self::DEFAULT_WAIT_SECONDS)
            }
            "cron" => text("Cron expression, instead of wait_seconds: 5 fields, or 6 with seconds first"),
            "timezone" => with(text("IANA time zone of cron"), "default", "UTC"),
            "spread_seconds" => {
                let words =
                    "Spreads the configs of a cron plan over this many seconds, each at a fixed offset";
                with(integer(words, 0, schedule::SPREAD_MAX_SECONDS), "default", 0)
            }
            "overlap" => {
                let words = "What to do when an execution becomes due while another one is active: skip drops it, \
                             queue starts it right after";
                with(choice(words, names(&OverlapPolicy::NAMES)), "default", OverlapPolicy::default().name())
            }
            "catch_up" => {
                let words = "What to do about missed occurrences: run_once runs once for all of them, skip drops \
                             them, run_each runs once for each of the latest 100";
                with(choice(words, names(&CatchUpPolicy::NAMES)), "default", CatchUpPolicy::default().name())
            }
            "repeat_count" => integer(
                "Number of scheduled executions per config, after which the schedule ends",
                1,
                COUNT_MAX,
            ),
            "priority" => {
                let words = "Higher priorities start first, among the plans of one tenant";
                with(integer(words, 0, PRIORITY_MAX), "default", Self::DEFAULT_PRIORITY)
            }
            _ => json!({}),
        }
    }
}

fn required_key(plan: &ObjectReader<'_>, field: &str, context: &mut ReadContext<'_>) -> Option<String> {
    plan.require(field, context)?;
    object::key(plan.text(field, context)?, plan.at(field), context)
}

/// Reads `configs`: the text `all`, which is the same as leaving it out, or a list of keys.
fn configs(plan: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<Vec<String>> {
    match plan.get("configs") {
        None => Some(Vec::new()),
        Some(Value::String(text)) if text == "all" => Some(Vec::new()),
        Some(Value::Array(items)) => {
            let at = plan.at("configs");
            if items.is_empty() || items.len() > CONFIGS_MAX {
                let words = format!("lists {} configs, and may list 1 to {CONFIGS_MAX}", items.len());
                context.report(Diagnostic::new(DiagnosticCode::OutOfRange, at, words));
                return None;
            }
            let mut keys = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{at}/{index}");
                let Some(text) = item.as_str() else {
                    context.report(wrong_type(&pointer, "the key of a config", item));
                    continue;
                };
                if keys.iter().any(|known| known == text) {
                    let words = format!("config {text} is listed twice");
                    context.report(Diagnostic::new(DiagnosticCode::Duplicate, pointer, words));
                    continue;
                }
                keys.extend(object::key(text, pointer, context));
            }
            Some(keys)
        }
        Some(other) => {
            let diagnostic = wrong_type(&plan.at("configs"), "\"all\" or a list of keys", other);
            context.report(diagnostic.suggest("\"all\""));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialized_header_has_exactly_the_listed_fields() {
        let header = PlanHeader {
            key: "a".to_owned(),
            integration: "b".to_owned(),
            configs: vec!["c".to_owned()],
            name: "n".to_owned(),
            description: "d".to_owned(),
            enabled: Some(true),
            wait_seconds: Some(1),
            cron: Some("* * * * *".to_owned()),
            timezone: Some("UTC".to_owned()),
            spread_seconds: Some(1),
            overlap: Some(OverlapPolicy::Queue),
            catch_up: Some(CatchUpPolicy::Skip),
            repeat_count: Some(1),
            priority: Some(1),
        };
        let members = header.to_members();
        let mut listed = PlanHeader::FIELDS.to_vec();
        listed.sort_unstable();
        let mut found: Vec<&str> = members.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, listed);
        assert_eq!(PlanHeader::default().to_members(), Map::new());
    }

    #[test]
    fn policies_are_serialized_under_their_names() {
        for (name, policy) in OverlapPolicy::NAMES {
            assert_eq!((policy.name(), OverlapPolicy::from_name(name)), (name, Some(policy)));
            assert_eq!(json!(policy), name);
        }
        for (name, policy) in CatchUpPolicy::NAMES {
            assert_eq!((policy.name(), CatchUpPolicy::from_name(name)), (name, Some(policy)));
            assert_eq!(json!(policy), name);
        }
        assert_eq!(CatchUpPolicy::from_name("all"), None);
    }
}

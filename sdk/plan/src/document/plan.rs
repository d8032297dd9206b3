//! The outer fields of a plan document.

use serde_json::Value;

use super::context::Context;
use super::object::{self, Object, wrong_type};
use super::{definition, timing};
use crate::{Configs, Diagnostic, DiagnosticCode, OverlapPolicy, Plan};

pub(crate) const FIELDS: &[&str] = &[
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
    "definition",
];

/// Bytes of a name.
const NAME_BYTES: usize = 200;
/// Bytes of a description.
const DESCRIPTION_BYTES: usize = 4096;
/// Configs that a plan names.
const MAX_CONFIGS: usize = 1000;
/// The greatest count of seconds or runs: what a 32-bit integer holds.
pub(super) const MAX_COUNT: u64 = 2_147_483_647;

pub(super) fn read(document: &Value, context: &mut Context<'_>) -> Option<Plan> {
    let object = Object::open(document, "", FIELDS, context)?;
    let key = required_key(&object, "key", context);
    let integration = required_key(&object, "integration", context);
    let configs = configs(&object, context);
    let name = object.short_text("name", NAME_BYTES, context);
    let description = object.short_text("description", DESCRIPTION_BYTES, context);
    let enabled = object.boolean("enabled", context).unwrap_or(false);
    let timing = timing::read(&object, context);
    let overlap =
        object.choice("overlap", &[("skip", OverlapPolicy::Skip), ("queue", OverlapPolicy::Queue)], context);
    let catch_up = timing::catch_up(&object, context);
    let repeat_count = object.integer("repeat_count", 1..=MAX_COUNT, context);
    let priority = object.integer("priority", 0..=9, context).and_then(|value| u8::try_from(value).ok());
    let definition = object.require("definition", context);
    let definition = definition.and_then(|value| definition::read(value, "/definition", context));
    Some(Plan {
        key: key?,
        integration: integration?,
        configs: configs?,
        name,
        description,
        enabled,
        timing,
        overlap: overlap.unwrap_or(OverlapPolicy::Skip),
        catch_up,
        repeat_count,
        priority: priority.unwrap_or(5),
        definition: definition?,
    })
}

fn required_key(object: &Object<'_>, field: &str, context: &mut Context<'_>) -> Option<String> {
    object.require(field, context)?;
    object::key(object.text(field, context)?, object.at(field), context)
}

fn configs(object: &Object<'_>, context: &mut Context<'_>) -> Option<Configs> {
    match object.get("configs") {
        None => Some(Configs::All),
        Some(Value::String(text)) if text == "all" => Some(Configs::All),
        Some(Value::Array(items)) => {
            let at = object.at("configs");
            if items.is_empty() || items.len() > MAX_CONFIGS {
                let words = format!("{} configs are not between 1 and {MAX_CONFIGS}", items.len());
                context.report(Diagnostic::new(DiagnosticCode::OutOfRange, at, words));
                return None;
            }
            let mut keys = Vec::with_capacity(items.len());
            for (place, item) in items.iter().enumerate() {
                let pointer = format!("{at}/{place}");
                let Some(text) = item.as_str() else {
                    context.report(wrong_type(&pointer, "a key", item));
                    continue;
                };
                if keys.iter().any(|known| known == text) {
                    context.report(Diagnostic::new(
                        DiagnosticCode::Duplicate,
                        pointer,
                        format!("{text} is named twice"),
                    ));
                    continue;
                }
                keys.extend(object::key(text, pointer, context));
            }
            Some(Configs::Keys(keys))
        }
        Some(other) => {
            context.report(
                wrong_type(&object.at("configs"), "\"all\" or a list of keys", other).suggest("\"all\""),
            );
            None
        }
    }
}

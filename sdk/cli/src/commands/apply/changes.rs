//! Finds the fields in which a file differs from the control plane. A field that the file leaves
//! out keeps its value, unless its default is declared by leaving it out.

use orchid_plan::PlanHeader;
use orchid_sdk::{
    UnknownEnumValue,
    json::from_struct,
    v1::{ClientCertificate, Config, Integration, Plan, Transport},
};
use serde_json::{Map, Value, json};

use super::diff::diff;

/// Text that the control plane shows in place of a secret.
const SECRET: &str = "[SECRET]";
/// Part of a URL that the control plane shows in place of its user and password.
const SECRET_USER: &str = "://[SECRET]@";

/// Fields to update, and lines to show the user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Names of the fields, as in an update mask.
    pub fields: Vec<&'static str>,
    /// Differing lines of the fields that are JSON.
    pub diff: String,
}

/// Compares the display name and the description of two integrations.
pub(super) fn integration(declared: &Integration, current: &Integration) -> Changes {
    let mut changes = Changes::default();
    changes.note("display_name", declared.display_name != current.display_name);
    changes.note("description", declared.description != current.description);
    changes
}

/// Compares two configs in every field except the keys. Secrets cannot be compared and count as
/// equal.
pub(super) fn config(declared: &Config, current: &Config) -> Changes {
    let mut changes = Changes::default();
    changes.note("display_name", declared.display_name != current.display_name);
    changes
        .note("enabled", declared.enabled.is_some_and(|enabled| enabled != current.enabled.unwrap_or(true)));
    let (mut wanted, kept) = (json(declared.values.as_ref()), json(current.values.as_ref()));
    hide(&mut wanted, &kept);
    changes.note_json("values", &wanted, &kept);
    if let Some(declared) = &declared.transport {
        let (mut wanted, kept) =
            (transport(declared), transport(&current.transport.clone().unwrap_or_default()));
        hide(&mut wanted, &kept);
        changes.note_json("transport", &wanted, &kept);
    }
    changes
}

/// Returns the declared fields in which the control plane keeps secrets.
pub(super) fn secret_fields(declared: &Config, current: &Config) -> Vec<&'static str> {
    fn secret(value: &Value) -> bool {
        match value {
            Value::String(text) => text == SECRET || text.contains(SECRET_USER),
            Value::Array(elements) => elements.iter().any(secret),
            Value::Object(members) => members.values().any(secret),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let values = secret(&json(current.values.as_ref())).then_some("values");
    let current = current.transport.as_ref().filter(|_| declared.transport.is_some());
    let transport = current.is_some_and(|current| secret(&transport(current))).then_some("transport");
    values.into_iter().chain(transport).collect()
}

/// Returns a transport as it is written in a file.
fn transport(Transport { proxy, ca, client_certificate, allowed_hosts }: &Transport) -> Value {
    let mut members = Map::new();
    for (name, text) in [("proxy", proxy), ("ca", ca)] {
        if !text.is_empty() {
            members.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    if let Some(ClientCertificate { certificate, key }) = client_certificate {
        members.insert("client_certificate".to_owned(), json!({"certificate": certificate, "key": key}));
    }
    if !allowed_hosts.is_empty() {
        members.insert("allowed_hosts".to_owned(), Value::from(allowed_hosts.clone()));
    }
    Value::Object(members)
}

/// Compares two plans in every field except the key and the integration.
///
/// # Errors
/// Fails if a plan has an enum value that this build does not know.
pub(super) fn plan(declared: &Plan, current: &Plan) -> Result<Changes, UnknownEnumValue> {
    let declared_header = declared.header()?;
    let by_cron = declared_header.cron.is_some();
    let (wanted, kept) = (declared_header.to_members(), current.header()?.to_members());
    let mut changes = Changes::default();
    for field in PlanHeader::changeable_fields() {
        let differs = match field {
            // A file that leaves these out declares their defaults.
            "configs" | "name" | "description" => wanted.get(field) != kept.get(field),
            // A cron expression declares the defaults of these two. Without it they have no effect.
            "timezone" => by_cron && wanted.get(field) != kept.get(field),
            "spread_seconds" => {
                let none = Value::from(0);
                by_cron && wanted.get(field).unwrap_or(&none) != kept.get(field).unwrap_or(&none)
            }
            // The other fields keep the value that the control plane has.
            _ => wanted.get(field).is_some_and(|wanted| Some(wanted) != kept.get(field)),
        };
        changes.note(field, differs);
    }
    changes.note_json("definition", &json(declared.definition.as_ref()), &json(current.definition.as_ref()));
    Ok(changes)
}

impl Changes {
    /// Returns whether there is nothing to update.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn note(&mut self, field: &'static str, changed: bool) {
        if changed {
            self.fields.push(field);
        }
    }

    /// Notes a JSON field if it differs, with the differing lines.
    pub(super) fn note_json(&mut self, field: &'static str, wanted: &Value, current: &Value) {
        if wanted != current {
            self.fields.push(field);
            self.diff.push_str(&diff(current, wanted));
        }
    }
}

/// Converts a Struct to JSON. One that cannot be converted becomes null, which differs from any
/// other.
fn json(values: Option<&prost_types::Struct>) -> Value {
    values.and_then(|values| from_struct(values).ok()).unwrap_or_default()
}

/// Replaces values by the mark of a secret wherever the other side shows one, so that the two can
/// be compared and shown.
fn hide(wanted: &mut Value, current: &Value) {
    match (wanted, current) {
        (wanted, Value::String(text)) if text == SECRET => *wanted = Value::String(SECRET.to_owned()),
        (Value::String(wanted), Value::String(text)) if text.contains(SECRET_USER) => hide_user(wanted),
        (Value::Object(wanted), Value::Object(current)) => {
            for (name, value) in wanted {
                if let Some(current) = current.get(name) {
                    hide(value, current);
                }
            }
        }
        (Value::Array(wanted), Value::Array(current)) => {
            wanted.iter_mut().zip(current).for_each(|(value, current)| hide(value, current));
        }
        _ => {}
    }
}

/// Replaces the user and password of a URL by the mark of a secret.
fn hide_user(url: &mut String) {
    let Some(begin) = url.find("://").map(|at| at + 3) else { return };
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |length| begin + length);
    if let Some(at) = url[begin..end].rfind('@') {
        url.replace_range(begin..begin + at, SECRET);
    }
}

#[cfg(test)]
mod tests {
    use orchid_sdk::{json::to_struct, v1::CatchUp};

    use super::*;

    fn config_with(values: &Value) -> Config {
        Config { values: Some(to_struct(values).unwrap()), ..Config::default() }
    }

    #[test]
    fn secret_is_neither_compared_nor_shown() {
        let current = config_with(&json!({"url": "a", "key": SECRET}));
        let declared = config_with(&json!({"url": "b", "key": "do-not-show-me"}));
        let changes = config(&declared, &current);
        assert_eq!(changes.fields, ["values"]);
        assert!(changes.diff.contains("\"url\": \"b\"") && !changes.diff.contains("do-not-show-me"));
        let same = config(&config_with(&json!({"url": "a", "key": "x"})), &current);
        assert!(same.is_empty(), "{same:?}");
        assert_eq!(secret_fields(&current, &current), ["values"]);
    }

    #[test]
    fn transport_secrets_are_neither_compared_nor_shown() {
        let with = |proxy: &str, key: &str, host: &str| Config {
            transport: Some(Transport {
                proxy: proxy.to_owned(),
                client_certificate: Some(ClientCertificate {
                    certificate: "c".to_owned(),
                    key: key.to_owned(),
                }),
                allowed_hosts: vec![host.to_owned()],
                ..Transport::default()
            }),
            ..Config::default()
        };
        let current = with("http://[SECRET]@proxy.test:3128", SECRET, "a.test");
        let same = with("http://me:hush@proxy.test:3128", "hush", "a.test");
        assert!(config(&same, &current).is_empty());
        assert_eq!(secret_fields(&same, &current), ["transport"]);
        let changes = config(&with("http://me:hush@other.test:3128", "hush", "b.test"), &current);
        assert_eq!(changes.fields, ["transport"]);
        assert!(
            changes.diff.contains("+   \"proxy\": \"http://[SECRET]@other.test:3128\""),
            "{}",
            changes.diff
        );
        assert!(changes.diff.contains("b.test") && !changes.diff.contains("hush"), "{}", changes.diff);
        let left_out = Config::default();
        assert!(config(&left_out, &current).is_empty() && secret_fields(&left_out, &current).is_empty());
    }

    #[test]
    fn omitted_field_keeps_its_value() {
        let current =
            Plan { wait_seconds: Some(60), enabled: Some(true), priority: Some(5), ..Plan::default() };
        assert!(plan(&Plan::default(), &current).unwrap().is_empty());
        let declared = Plan { enabled: Some(false), priority: Some(5), ..Plan::default() };
        assert_eq!(plan(&declared, &current).unwrap().fields, ["enabled"]);
        let by_cron = Plan {
            cron: "0 5 * * *".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            spread_seconds: Some(60),
            catch_up: CatchUp::Skip.into(),
            ..Plan::default()
        };
        assert!(plan(&Plan::default(), &by_cron).unwrap().is_empty());
        assert!(plan(&by_cron, &by_cron).unwrap().is_empty());
    }

    #[test]
    fn cron_without_zone_and_spread_declares_their_defaults() {
        let by_cron = Plan { cron: "0 5 * * *".to_owned(), ..Plan::default() };
        let elsewhere =
            Plan { timezone: "Europe/Berlin".to_owned(), spread_seconds: Some(60), ..by_cron.clone() };
        assert_eq!(plan(&by_cron, &elsewhere).unwrap().fields, ["timezone", "spread_seconds"]);
        let waits = Plan { wait_seconds: Some(60), ..Plan::default() };
        assert_eq!(plan(&by_cron, &waits).unwrap().fields, ["cron"]);
        assert_eq!(plan(&waits, &elsewhere).unwrap().fields, ["wait_seconds"]);
    }

    #[test]
    fn changed_definition_is_shown_line_by_line() {
        let with = |url: &str| Plan {
            definition: Some(to_struct(&json!({"step": {"url": url}})).unwrap()),
            ..Plan::default()
        };
        let changes = plan(&with("b"), &with("a")).unwrap();
        assert_eq!(changes.fields, ["definition"]);
        assert_eq!(changes.diff, "    -     \"url\": \"a\"\n    +     \"url\": \"b\"\n");
    }
}

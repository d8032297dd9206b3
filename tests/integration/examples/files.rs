//! The documents of an example's folder, with the test's values for the user's.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::api::{ApiSetup, Example};

/// An integration, a config and a plan.
#[derive(Debug, Clone)]
pub(super) struct ExampleFiles {
    /// The integration of `integration.json`.
    pub(super) integration: Value,
    /// The values of `config.json`.
    pub(super) values: Value,
    /// The hosts that the config allows.
    pub(super) allowed_hosts: Vec<String>,
    /// The plan of `plan.json`, without its `kind`.
    pub(super) plan: Value,
}

/// Returns the test's value for a config variable.
pub(super) fn variable(name: &str) -> String {
    format!("the-{}", name.to_lowercase().replace('_', "-"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples")
}

/// Returns the names of all example folders, sorted.
pub(super) fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir());
    let mut names: Vec<String> =
        folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl ExampleFiles {
    /// Reads the folder of an example.
    pub(super) fn of(example: &Example, ground: &ApiSetup) -> ExampleFiles {
        let integration = read(example, "integration.json");
        let config = read(example, "config.json");
        let mut plan = read(example, "plan.json");
        let members = plan.as_object_mut().unwrap();
        members.remove("kind");
        members.remove("$schema");
        let mut values = config["values"].clone();
        let others = (example.values)(ground);
        values.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        fill(&mut values);
        let hosts = [&ground.url, &ground.other].map(|url| url.replace("http://", ""));
        let allowed_hosts =
            config["transport"]["allowed_hosts"].as_array().map(|_| hosts.to_vec()).unwrap_or_default();
        ExampleFiles { integration, values, allowed_hosts, plan }
    }

    /// Returns a text member of an object.
    pub(super) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
        value[member].as_str().unwrap_or_default()
    }

    /// Returns the pointers of the secret values.
    pub(super) fn secret_pointers(&self) -> Vec<String> {
        let properties = self.integration["config_schema"]["properties"].as_object().unwrap();
        let secret = properties.iter().filter(|(_, schema)| schema["writeOnly"] == true);
        secret.map(|(name, _)| format!("/{name}")).collect()
    }

    /// Returns the secret values.
    pub(super) fn secrets(&self) -> Vec<&str> {
        self.secret_pointers().iter().filter_map(|pointer| self.values.pointer(pointer)?.as_str()).collect()
    }
}

fn read(example: &Example, file: &str) -> Value {
    let path = root().join(example.folder).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Replaces texts that consist of one `${NAME}`.
fn fill(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                *text = variable(name);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(fill),
        Value::Object(members) => members.values_mut().for_each(fill),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

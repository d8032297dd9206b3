//! Parses the files of `orchid apply`: one JSON object per file, whose `kind` is integration,
//! config or plan. Returns the messages of the API, or errors with file and place. It does no
//! network I/O.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use orchid_plan::{Diagnostic, DiagnosticCode, ServerLimits, Warning};
use orchid_sdk::{
    json::to_struct,
    v1::{ClientCertificate, Config, Integration, Plan, Transport},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A file with its text, which error messages quote.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Path as the user gave it.
    pub file: String,
    /// Content of the file.
    pub text: String,
}

/// The content of a file. The variants are in the order in which they must be applied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Document {
    /// An integration, with the JSON Schema of its configs.
    Integration {
        /// The integration.
        integration: Integration,
        /// JSON Schema of its configs, if the file has one.
        config_schema: Option<Value>,
    },
    /// A config.
    Config(Config),
    /// A valid plan.
    Plan(Plan),
}

/// A file that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// It is not a JSON object, or not of a known form.
    #[error("{file}: {reason}")]
    Unreadable {
        /// Path of the file, with line and column if they are known.
        file: String,
        /// Explanation.
        reason: String,
    },
    /// A plan has problems.
    #[error("{} has {} {}", source_file.file, faults.len(), if faults.len() == 1 { "problem" } else { "problems" })]
    Plan {
        /// The file.
        source_file: Source,
        /// All problems.
        faults: Vec<Diagnostic>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IntegrationFile {
    key: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    description: String,
    config_schema: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    integration: String,
    key: String,
    #[serde(default)]
    display_name: String,
    enabled: Option<bool>,
    values: Value,
    transport: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransportFile {
    #[serde(default)]
    proxy: String,
    #[serde(default)]
    ca: String,
    client_certificate: Option<ClientCertificateFile>,
    #[serde(default)]
    allowed_hosts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientCertificateFile {
    certificate: String,
    key: String,
}

/// Reads all `.json` files at the paths; folders are searched recursively, in sorted order.
///
/// # Errors
/// Fails if a path cannot be read, or if there is no `.json` file.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        bail!(
            "no .json file in {}",
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    files.iter().map(|path| read_one(path)).collect()
}

/// Reads one file.
pub(crate) fn read_one(path: &Path) -> anyhow::Result<Source> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Source { file: path.display().to_string(), text })
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut below = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    below.retain(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "json"));
    below.sort();
    below.iter().try_for_each(|path| collect(path, files))
}

/// Parses a file. `variable` returns the value of `${NAME}` in the values and transport of a
/// config.
pub(crate) fn parse(
    source: &Source,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Document, DocumentError> {
    let (kind, members) = object(source)?;
    match kind.as_deref() {
        Some("integration") => integration(source, members),
        Some("config") => config(source, members, &variable),
        Some("plan") => plan(source, members).map(|(plan, _)| Document::Plan(plan)),
        Some(other) => {
            Err(unreadable(source, format!("unknown kind `{other}`: use integration, config or plan")))
        }
        None => Err(unreadable(source, "`kind` is missing: use integration, config or plan".to_owned())),
    }
}

/// Parses a plan, whose `kind` may be absent, and returns it with its warnings.
pub(crate) fn parse_plan(source: &Source) -> Result<(Plan, Vec<Warning>), DocumentError> {
    match object(source)? {
        (Some(kind), _) if kind != "plan" => {
            Err(unreadable(source, format!("expected a plan, not kind `{kind}`")))
        }
        (_, members) => plan(source, members),
    }
}

fn object(source: &Source) -> Result<(Option<String>, Map<String, Value>), DocumentError> {
    let parsed = serde_json::from_str(&source.text).map_err(|error| DocumentError::Unreadable {
        file: format!("{}:{}:{}", source.file, error.line(), error.column()),
        reason: error.to_string(),
    })?;
    let Value::Object(mut members) = parsed else {
        return Err(unreadable(source, "the file must contain one JSON object".to_owned()));
    };
    let kind =
        members.remove("kind").map(|kind| kind.as_str().map_or_else(|| kind.to_string(), str::to_owned));
    Ok((kind, members))
}

fn integration(source: &Source, members: Map<String, Value>) -> Result<Document, DocumentError> {
    let IntegrationFile { key, display_name, description, config_schema } = typed(source, members)?;
    if let Some(schema) = &config_schema {
        to_struct(schema).map_err(|error| unreadable(source, format!("/config_schema: {error}")))?;
    }
    let integration = Integration { key, display_name, description, ..Integration::default() };
    Ok(Document::Integration { integration, config_schema })
}

fn config(
    source: &Source,
    members: Map<String, Value>,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Document, DocumentError> {
    let ConfigFile { integration, key, display_name, enabled, mut values, mut transport } =
        typed(source, members)?;
    for part in [Some(&mut values), transport.as_mut()].into_iter().flatten() {
        fill(part, variable).map_err(|name| {
            unreadable(
                source,
                format!("variable `${{{name}}}` is not set: set it in the environment, or start `orchid dev`, which may provide it"),
            )
        })?;
    }
    let values = to_struct(&values).map_err(|error| unreadable(source, format!("/values: {error}")))?;
    let values = Some(values);
    let transport = transport.map(|transport| transport_of(source, transport)).transpose()?;
    Ok(Document::Config(Config {
        integration,
        key,
        display_name,
        enabled,
        values,
        transport,
        ..Config::default()
    }))
}

fn transport_of(source: &Source, transport: Value) -> Result<Transport, DocumentError> {
    let TransportFile { proxy, ca, client_certificate, allowed_hosts } = serde_json::from_value(transport)
        .map_err(|error| unreadable(source, format!("/transport: {error}")))?;
    let client_certificate = client_certificate
        .map(|ClientCertificateFile { certificate, key }| ClientCertificate { certificate, key });
    Ok(Transport { proxy, ca, client_certificate, allowed_hosts })
}

fn plan(source: &Source, mut members: Map<String, Value>) -> Result<(Plan, Vec<Warning>), DocumentError> {
    // Editors need the reference to the schema; it is not a part of the plan.
    members.remove("$schema");
    let document = Value::Object(members);
    let faulty = |faults| DocumentError::Plan { source_file: source.clone(), faults };
    let checked = orchid_plan::check(&document, &ServerLimits::default()).map_err(|found| faulty(found.0))?;
    let definition = to_struct(&document["definition"]).map_err(|error| {
        faulty(vec![Diagnostic::new(
            DiagnosticCode::InvalidValue,
            format!("/definition{}", error.pointer()),
            error.to_string(),
        )])
    })?;
    let plan = Plan { definition: Some(definition), ..Plan::from(checked.header) };
    Ok((plan, checked.definition.warnings()))
}

fn typed<T: DeserializeOwned>(source: &Source, members: Map<String, Value>) -> Result<T, DocumentError> {
    serde_json::from_value(Value::Object(members)).map_err(|error| unreadable(source, error.to_string()))
}

fn unreadable(source: &Source, reason: String) -> DocumentError {
    DocumentError::Unreadable { file: source.file.clone(), reason }
}

/// Replaces every `${NAME}` in texts; fails with the first name that has no value.
fn fill(value: &mut Value, variable: &impl Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = filled(text, variable)?,
        Value::Array(elements) => elements.iter_mut().try_for_each(|element| fill(element, variable))?,
        Value::Object(members) => members.values_mut().try_for_each(|member| fill(member, variable))?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn filled(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(&variable(name).ok_or_else(|| name.to_owned())?);
        rest = behind;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { file: "f.json".into(), text: text.into() }
    }

    fn error(text: &str) -> String {
        parse(&source(text), |_| None).unwrap_err().to_string()
    }

    #[test]
    fn error_of_a_file_starts_with_its_path() {
        assert_eq!(error("[]"), "f.json: the file must contain one JSON object");
        assert_eq!(error("{}"), "f.json: `kind` is missing: use integration, config or plan");
        assert_eq!(
            error(r#"{"kind": "flow"}"#),
            "f.json: unknown kind `flow`: use integration, config or plan"
        );
        assert!(error("{\n  x").starts_with("f.json:2:3: "), "{}", error("{\n  x"));
        let unknown = error(r#"{"kind": "config", "integration": "i", "key": "k", "value": {}}"#);
        assert!(unknown.starts_with("f.json: unknown field `value`"), "{unknown}");
        let unknown = error(
            r#"{"kind": "config", "integration": "i", "key": "k", "values": {}, "transport": {"prox": ""}}"#,
        );
        assert!(unknown.starts_with("f.json: /transport: unknown field `prox`"), "{unknown}");
        let rounded = error(
            r#"{"kind": "config", "integration": "i", "key": "k", "values": {"id": 9007199254740993}}"#,
        );
        assert!(rounded.contains("9007199254740993 at /id"), "{rounded}");
    }

    #[test]
    fn unset_variable_is_named() {
        let text = r#"{"kind": "config", "integration": "i", "key": "k", "values": {"a": ["x${NOPE}"]}}"#;
        assert!(error(text).contains("variable `${NOPE}` is not set"), "{}", error(text));
    }

    #[test]
    fn variables_are_replaced_in_every_text() {
        let text = r#"{"kind": "config", "integration": "i", "key": "k", "values": {"a": [{"b": "<${X}${X}> ${"}]}}"#;
        let Document::Config(config) = parse(&source(text), |name| Some(name.to_lowercase())).unwrap() else {
            panic!("no config");
        };
        let values = orchid_sdk::json::from_struct(&config.values.unwrap()).unwrap();
        assert_eq!(values, serde_json::json!({"a": [{"b": "<xx> ${"}]}));
        let text = r#"{"kind": "config", "integration": "i", "key": "k", "values": {}, "transport":
            {"proxy": "http://me:${PW}@proxy.test", "client_certificate": {"certificate": "c", "key": "${KEY}"}}}"#;
        let Document::Config(config) = parse(&source(text), |name| Some(name.to_lowercase())).unwrap() else {
            panic!("no config");
        };
        let transport = config.transport.unwrap();
        assert_eq!(transport.proxy, "http://me:pw@proxy.test");
        assert_eq!(transport.client_certificate.unwrap().key, "key");
    }

    #[test]
    fn plan_may_omit_its_kind_but_not_have_another() {
        let other = parse_plan(&source(r#"{"kind": "config"}"#)).unwrap_err();
        assert_eq!(other.to_string(), "f.json: expected a plan, not kind `config`");
    }

    #[test]
    fn plan_may_name_its_schema_and_keeps_its_warnings() {
        let text = |schema: &str| {
            format!(
                r#"{{{schema} "key": "k", "integration": "i", "definition": {{"step": {{"url": "https://a.example.com", "emit": "none"}}}}}}"#
            )
        };
        let (plan, warnings) = parse_plan(&source(&text(r#""$schema": "docs/plan.schema.json","#))).unwrap();
        assert_eq!(plan.key, "k");
        assert_eq!(
            warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>(),
            ["NOTHING_EMITTED"]
        );
        let inside = text("").replace(r#""step""#, r#""$schema": "x", "step""#);
        assert!(parse_plan(&source(&inside)).is_err());
    }
}

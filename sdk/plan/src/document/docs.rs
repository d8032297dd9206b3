//! Checks the guide to the plan language: its plans, warnings and functions are those of this
//! crate, and every example is a valid plan.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{FunctionDoc, ServerLimits, WarningCode, check, function_docs};

const PAGE: &str = include_str!("../../../../docs/plan-language.md");

fn json_blocks() -> impl Iterator<Item = &'static str> {
    PAGE.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next())
}

#[test]
fn every_plan_of_the_guide_is_valid() {
    let mut plans = 0;
    for block in json_blocks() {
        let document: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        if document.get("definition").is_some() {
            check(&document, &ServerLimits::default())
                .unwrap_or_else(|diagnostics| panic!("{diagnostics}\n{block}"));
            plans += 1;
        }
    }
    assert!(plans >= 6, "{plans} plans");
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples")
}

fn read(folder: &Path, file: &str) -> Value {
    let text =
        std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{folder:?}: {file}: {error}"))
}

/// Returns the paths of the secret members of a flat config schema.
fn secrets(integration: &Value) -> Vec<Vec<String>> {
    let properties = integration["config_schema"]["properties"].as_object().unwrap();
    let secret = properties.iter().filter(|(_, schema)| schema["writeOnly"] == true);
    secret.map(|(name, _)| vec![name.clone()]).collect()
}

#[test]
fn every_example_is_listed_and_has_no_warnings() {
    let list = std::fs::read_to_string(examples().join("README.md")).unwrap();
    let folders = std::fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    assert!(folders.len() >= 17, "{} examples", folders.len());
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        let mut document = read(&folder, "plan.json");
        let members = document.as_object_mut().unwrap();
        assert_eq!(members.remove("kind").unwrap(), "plan", "{name}");
        assert_eq!(members.remove("$schema").unwrap(), "../../plan.schema.json", "{name}");
        let plan = check(&document, &ServerLimits::default())
            .unwrap_or_else(|diagnostics| panic!("{name}: {diagnostics}"));
        assert_eq!(plan.definition.warnings(), [], "{name}");
        let integration = read(&folder, "integration.json");
        assert_eq!(plan.definition.secret_diagnostics(&secrets(&integration)), [], "{name}");
        let config = read(&folder, "config.json");
        for (file, key) in [(&document, "integration"), (&config, "integration")] {
            assert_eq!(file[key], integration["key"], "{name}");
        }
        assert!(folder.join("README.md").is_file(), "{name} says nothing about itself");
        assert!(list.contains(&format!("]({name}/README.md)")), "{name} is not listed");
    }
}

#[test]
fn plans_of_the_guide_have_no_warnings() {
    for block in json_blocks() {
        let document: Value = serde_json::from_str(block).unwrap_or_default();
        let Ok(plan) = check(&document, &ServerLimits::default()) else { continue };
        assert_eq!(plan.definition.warnings(), [], "{block}");
    }
}

#[test]
fn guide_lists_every_warning() {
    let table =
        PAGE.split("compares the codes -->").nth(1).and_then(|rest| rest.split("\nOthers").next()).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), WarningCode::ALL.map(WarningCode::as_str));
}

#[test]
fn guide_lists_every_function() {
    let written = PAGE
        .split_once("from the library's table -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- end of functions -->"))
        .map(|(table, _)| table)
        .unwrap();
    let expected = table("Orchid's own", false) + &table("JMESPath's", true);
    assert!(written == expected, "the table in docs/plan-language.md is to be:\n{expected}");
}

fn table(title: &str, standard: bool) -> String {
    let rows: String = function_docs().filter(|function| function.standard == standard).map(row).collect();
    format!("\n| {title} | | example |\n|---|---|---|\n{rows}")
}

fn row(function: FunctionDoc) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let code = |text: &str| {
        let fence = if text.contains('`') { "``" } else { "`" };
        let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
        format!("{fence}{space}{}{space}{fence}", cell(text))
    };
    format!(
        "| {} | {} | {} is {} |\n",
        code(function.signature),
        cell(function.doc),
        code(function.example),
        code(function.expected)
    )
}

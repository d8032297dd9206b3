//! The page that teaches the language says nothing that is not so.

use serde_json::Value;

use crate::{FunctionDoc, ServerLimits, WarningCode, check, function_docs};

const PAGE: &str = include_str!("../../../../docs/plan-language.md");

fn json_blocks() -> impl Iterator<Item = &'static str> {
    PAGE.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next())
}

#[test]
fn every_plan_on_the_page_is_taken() {
    let mut plans = 0;
    for block in json_blocks() {
        let document: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        if document.get("definition").is_some() {
            check(&document, &ServerLimits::default()).unwrap_or_else(|faults| panic!("{faults}\n{block}"));
            plans += 1;
        }
    }
    assert!(plans >= 6, "{plans} plans");
}

#[test]
fn the_plans_on_the_page_mean_what_they_say() {
    for block in json_blocks() {
        let document: Value = serde_json::from_str(block).unwrap_or_default();
        let Ok(plan) = check(&document, &ServerLimits::default()) else { continue };
        assert_eq!(plan.definition.warnings(), [], "{block}");
    }
}

#[test]
fn the_warnings_on_the_page_are_those_that_there_are() {
    let table =
        PAGE.split("compares the codes -->").nth(1).and_then(|rest| rest.split("\nOthers").next()).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), WarningCode::ALL.map(WarningCode::as_str));
}

#[test]
fn the_functions_on_the_page_are_those_of_the_library() {
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

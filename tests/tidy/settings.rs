//! Every setting is documented in docs/operations.md, and every documented setting exists.

use std::collections::BTreeSet;

use regex::Regex;

use crate::{literals, tree};

/// Returns the names of all settings in the code that reads them.
fn names() -> BTreeSet<String> {
    let read = Regex::new(r#"\breader\s*\.\s*[a-z_]+(?:::<[^>]*>)?\(\s*"([a-z0-9_.]+)""#).expect("a regex");
    let dotted = Regex::new(r"^[a-z]+(_[a-z]+)*\.[a-z_]+$").expect("a regex");
    let mut names = BTreeSet::new();
    for file in tree::sources() {
        let here = ["control-plane/src/settings", "executor/src/settings", "sdk/kit/src/telemetry/settings"];
        if here.iter().any(|begin| file.name.starts_with(begin)) {
            let code = tree::before_tests(&file.text);
            names.extend(read.captures_iter(code).map(|found| found[1].to_owned()));
            let literals = literals::strings(code).into_iter().map(|(_, text)| text);
            names.extend(literals.filter(|text| dotted.is_match(text)));
        }
    }
    names
}

#[test]
fn every_setting_is_documented() {
    let names = names();
    assert!(names.len() >= 40, "only {} settings were found: {names:?}", names.len());
    let page = std::fs::read_to_string(tree::root().join("docs/operations.md")).expect("docs/operations.md");
    let missing: Vec<&String> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
}

#[test]
fn every_documented_setting_exists() {
    let names = names();
    let page = std::fs::read_to_string(tree::root().join("docs/operations.md")).expect("docs/operations.md");
    let row = Regex::new(r"(?m)^\| `([a-z]+(?:_[a-z]+)*(?:\.[a-z_]+)?)` \|").expect("a regex");
    let documented = row.captures_iter(&page).map(|found| found[1].to_owned());
    let unknown: Vec<String> =
        documented.filter(|name| name.contains('.') && !names.contains(name)).collect();
    assert!(unknown.is_empty(), "docs/operations.md names settings that are none: {unknown:?}");
}

//! Every setting stands in the operators' page, and every setting there exists.

use std::collections::BTreeSet;

use regex::Regex;

use crate::tree;

#[test]
fn every_setting_is_documented() {
    let read = Regex::new(r#"\breader\s*\.\s*[a-z_]+(?:::<[^>]*>)?\(\s*"([a-z0-9_.]+)""#).expect("a regex");
    let mut names = BTreeSet::new();
    for file in tree::sources() {
        let crates = ["control-plane/src/", "executor/src/", "sdk/kit/src/telemetry"];
        if crates.iter().any(|begin| file.name.starts_with(begin)) {
            names.extend(read.captures_iter(tree::before_tests(&file.text)).map(|found| found[1].to_owned()));
        }
    }
    assert!(names.len() >= 30, "only {} settings were found: {names:?}", names.len());
    let page = std::fs::read_to_string(tree::root().join("docs/operations.md")).expect("docs/operations.md");
    let missing: Vec<&String> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
}

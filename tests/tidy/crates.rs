//! Dependencies: allowed edges between our crates, wrapped crates, licences and single versions.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::tree;

/// The crates of this workspace that each of them may use.
const ARROWS: [(&str, &[&str]); 12] = [
    // Limits, names and suggestions, for crates that may not use each other.
    ("orchid-common", &[]),
    ("orchid-proto", &["orchid-plan"]),
    ("orchid-plan", &["orchid-common"]),
    ("orchid-kit", &["orchid-common"]),
    ("orchid-domain", &["orchid-common"]),
    ("orchid-migrations", &[]),
    ("orchid-engine", &["orchid-common", "orchid-plan"]),
    ("orchid-sdk", &["orchid-plan", "orchid-proto"]),
    (
        "orchid-control-plane",
        &["orchid-common", "orchid-domain", "orchid-kit", "orchid-migrations", "orchid-plan", "orchid-proto"],
    ),
    ("orchid-executor", &["orchid-engine", "orchid-kit", "orchid-plan", "orchid-proto"]),
    ("orchid-cli", &["orchid-common", "orchid-kit", "orchid-plan", "orchid-sdk"]),
    ("orchid-tests", &["orchid-kit", "orchid-plan", "orchid-proto", "orchid-sdk"]),
];

/// The only users of some external crates.
const WRAPPERS: [(&str, &[&str]); 7] = [
    ("sea-orm", &["orchid-control-plane", "orchid-migrations"]),
    ("sea-orm-migration", &["orchid-control-plane", "orchid-migrations"]),
    ("sqlx", &[]),
    ("sqlx-core", &[]),
    ("rdkafka", &["orchid-cli", "orchid-executor", "orchid-tests"]),
    // The tests use it for the baseline that the executor is measured against.
    ("reqwest", &["orchid-executor", "orchid-tests"]),
    ("jmespath", &["orchid-plan"]),
];

/// Crates that are large, or whose types appear in interfaces: each may have only one version.
const ONCE: [&str; 20] = [
    "axum",
    "bytes",
    "chrono",
    "h2",
    "http",
    "hyper",
    "jmespath",
    "opentelemetry",
    "prost",
    "rdkafka",
    "redis",
    "regex",
    "reqwest",
    "ring",
    "rustls",
    "sea-orm",
    "serde_json",
    "tokio",
    "tonic",
    "tower",
];

/// The allowed licences; `deny.toml` lists the same.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(tree::root())
            .output()
            .expect("cargo runs");
        // `--locked` also makes this fail if Cargo.lock is stale.
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
    })
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

fn packages() -> &'static [Value] {
    metadata()["packages"].as_array().expect("packages")
}

fn ours() -> BTreeMap<&'static str, &'static Value> {
    let members = metadata()["workspace_members"].as_array().expect("members");
    packages()
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .map(|one| (text(one, "name"), one))
        .collect()
}

/// Returns the names of a package's dependencies, with or without development dependencies.
fn uses(package: &'static Value, development: bool) -> BTreeSet<&'static str> {
    let all = package["dependencies"].as_array().expect("dependencies");
    all.iter()
        .filter(|one| development || one["kind"].as_str() != Some("dev"))
        .map(|one| text(one, "name"))
        .collect()
}

#[test]
fn crate_dependencies_are_allowed() {
    let allowed: BTreeMap<_, _> = ARROWS.into();
    let ours = ours();
    assert_eq!(ours.keys().copied().collect::<Vec<_>>(), allowed.keys().copied().collect::<Vec<_>>());
    for (name, package) in &ours {
        for used in uses(package, false).into_iter().filter(|used| ours.contains_key(used)) {
            assert!(allowed[name].contains(&used), "{name} may not use {used}");
        }
    }
}

#[test]
fn wrapped_crates_are_used_only_by_their_wrappers() {
    for (name, package) in &ours() {
        let used = uses(package, true);
        for (wrapped, wrappers) in &WRAPPERS {
            assert!(!used.contains(wrapped) || wrappers.contains(name), "{name} may not use {wrapped}");
        }
    }
}

#[test]
fn heavy_crates_have_one_version() {
    for once in ONCE {
        let versions: Vec<&str> = packages()
            .iter()
            .filter(|package| text(package, "name") == once)
            .map(|package| text(package, "version"))
            .collect();
        assert_eq!(versions.len(), 1, "{once}: {versions:?}");
    }
}

#[test]
fn arbitrary_precision_feature_is_off() {
    // The feature turns numbers into objects inside jmespath's values.
    for node in metadata()["resolve"]["nodes"].as_array().expect("nodes") {
        if text(node, "id").contains("serde_json") {
            let features = node["features"].as_array().expect("features");
            assert!(
                !features.iter().any(|feature| feature == "arbitrary_precision"),
                "serde_json/arbitrary_precision"
            );
        }
    }
}

#[test]
fn licences_are_allowed() {
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !accepted(text(package, "license")))
        .map(|package| format!("{}: {:?}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn deny_toml_matches_these_lists() {
    let deny = std::fs::read_to_string(tree::root().join("deny.toml")).expect("deny.toml");
    for licence in LICENCES {
        let name = licence.split(" WITH ").next().expect("a name");
        assert!(
            deny.contains(&format!("\"{name}\"")) || deny.contains(&format!("\"{licence}\"")),
            "{licence}"
        );
    }
    for (wrapped, wrappers) in WRAPPERS.iter().filter(|(_, wrappers)| !wrappers.is_empty()) {
        let line = deny.lines().find(|line| line.contains(&format!("name = \"{wrapped}\"")));
        let line = line.unwrap_or_else(|| panic!("deny.toml does not ban {wrapped}"));
        for wrapper in *wrappers {
            assert!(line.contains(&format!("\"{wrapper}\"")), "{wrapper} is missing: {line}");
        }
    }
}

/// Returns whether the allowed licences satisfy an SPDX expression. `/` is an old spelling of OR.
fn accepted(expression: &str) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "\u{1}");
    let mut words: Vec<String> =
        spaced.split_whitespace().map(|word| word.replace('\u{1}', " WITH ")).collect();
    words.reverse();
    either(&mut words) && words.is_empty()
}

fn either(words: &mut Vec<String>) -> bool {
    let mut met = both(words);
    while words.last().is_some_and(|word| word == "OR") {
        words.pop();
        met |= both(words);
    }
    met
}

fn both(words: &mut Vec<String>) -> bool {
    let mut met = one(words);
    while words.last().is_some_and(|word| word == "AND") {
        words.pop();
        met &= one(words);
    }
    met
}

fn one(words: &mut Vec<String>) -> bool {
    match words.pop().as_deref() {
        Some("(") => {
            let met = either(words);
            words.pop().is_some_and(|word| word == ")") && met
        }
        Some(licence) => LICENCES.contains(&licence),
        None => false,
    }
}

#[test]
fn licence_expressions_follow_spdx() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(accepted(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND AGPL-3.0", "MIT MIT"] {
        assert!(!accepted(bad), "{bad}");
    }
}

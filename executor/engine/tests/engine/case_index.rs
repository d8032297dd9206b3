//! Keeps `tests/cases/README.md` up to date: the index of rules and the cases that test them.
//! `ORCHID_BLESS=1` rewrites it.

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;

use crate::rule_tests;

/// Chapters with the name prefixes of their cases; a case belongs to the first chapter that
/// matches.
const CHAPTERS: &[(&str, &[&str])] = &[
    (
        "Fan-outs: rows, sub-steps and items",
        &["fan_out", "sub_steps", "for_each", "rows", "row", "items", "steps", "scope"],
    ),
    ("Async jobs", &["async", "job"]),
    ("Windows and cursors", &["window", "cursor"]),
    ("Conditional requests", &["conditional"]),
    ("Pagination", &["page", "offset", "link", "next", "repeat", "same", "stop"]),
    ("Loops and conditions", &["while", "break", "execute", "max", "limit", "all", "loop"]),
    (
        "Response outcomes and retries",
        &["abort", "ignore", "accept", "retry", "retries", "permanent", "network", "rate", "outcome"],
    ),
    (
        "Bodies",
        &[
            "body", "json", "jsonl", "csv", "xml", "text", "binary", "decode", "format", "stream", "too",
            "charset", "response", "values",
        ],
    ),
    (
        "Requests",
        &[
            "request",
            "template",
            "redirect",
            "redirected",
            "host",
            "header",
            "several",
            "url",
            "form",
            "params",
        ],
    ),
    ("Context and extraction", &["context", "set", "extract", "copied"]),
    (
        "Messages",
        &["chunk", "chunks", "emit", "redaction", "secret", "traced", "object", "message", "record"],
    ),
    (
        "Checkpoints, parking and stops",
        &["checkpoint", "resumed", "cancel", "drain", "sink", "time", "parked", "park"],
    ),
    ("Warnings", &["path", "filter", "warning", "more"]),
    ("Other rules", &[""]),
];

const HEAD: &str = "# Rules of the plan language and their tests

Each case is a folder. The engine runs `plan.json` with the responses of `exchange.json` and must
produce `expected.ndjson` byte for byte (`executor/engine/tests/engine/golden.rs`). `exchange.json`
also states the rule that the case tests; the lists below collect these rules. Other tests cover
what a case cannot show:

| rules | tests |
|---|---|
| every field of a plan: types, bounds, defaults, conflicts, suggestions; all diagnostics are reported at once | `sdk/plan/src/document/tests` |
| names in scope, pitfalls, and the official JMESPath cases with a reason for each refused one | `sdk/plan/src/expr/tests.rs`, `exactness.rs` |
| every function, by its documented example | `sdk/plan/src/functions` (`table.rs`), `docs/plan-language.md` by `document/docs.rs` |
| hostile plans, templates, expressions and bodies stay within limits | `sdk/plan/src/fuzz`, `sdk/plan/src/document/tests/hostile.rs`, `executor/engine/tests/engine/hostile.rs` |
| a body streamed in pieces has the same rows as the whole body | `executor/engine/src/body/properties.rs` |
| an execution ends within its limits, replays byte for byte, and loses nothing from any checkpoint | `executor/engine/tests/engine/properties.rs`, `fan_outs.rs`, `for_each.rs`, `streams.rs`, `windows.rs`, `async_jobs.rs` |
| messages never contain a secret | `executor/engine/tests/engine/redaction.rs` |
| compression, zip, cookies, timeouts, proxies, certificates, HTTP/2 and redirects on real sockets | `executor/tests/fetch` |
| cron, catch-up, overlap and repeat count | `control-plane/domain/src`, `tests/integration/{schedule,cron}.rs` |
| cursors and validators across executions; cancelling jobs upstream | `tests/integration/cursors.rs`, `executions.rs` |
| real APIs with the behaviour of their servers | `tests/integration/examples` |
";

/// The part of `exchange.json` that the index shows.
#[derive(Deserialize)]
struct CaseRule {
    rule: String,
}

#[test]
fn case_index_is_up_to_date() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let mut names: Vec<String> = std::fs::read_dir(&cases)
        .expect("tests/cases is there")
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut page = HEAD.to_owned() + &rule_tests::table();
    for (chapter, (title, _)) in CHAPTERS.iter().enumerate() {
        let here: Vec<&String> = names.iter().filter(|name| chapter_of(name) == chapter).collect();
        if here.is_empty() {
            continue;
        }
        write!(page, "\n## {title}\n\n").unwrap();
        for name in here {
            let exchange = std::fs::read(cases.join(name).join("exchange.json")).unwrap();
            let case: CaseRule = serde_json::from_slice(&exchange).unwrap();
            let item = format!("{} — [`{name}`]({name})", case.rule);
            push_list_item(&mut page, &item);
        }
    }
    let file = cases.join("README.md");
    if std::env::var_os("ORCHID_BLESS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "tests/cases/README.md is out of date; rewrite it with ORCHID_BLESS=1");
}

/// Appends a Markdown list item, wrapped at 100 columns.
fn push_list_item(page: &mut String, text: &str) {
    let (mut line, mut width) = ("-".to_owned(), 1);
    for word in text.split(' ') {
        let length = word.chars().count();
        if width + 1 + length > 100 {
            writeln!(page, "{line}").unwrap();
            (line, width) = (" ".to_owned(), 1);
        }
        line = line + " " + word;
        width += 1 + length;
    }
    writeln!(page, "{line}").unwrap();
}

fn chapter_of(name: &str) -> usize {
    let fits = |prefix: &&str| {
        prefix.is_empty()
            || name == *prefix
            || name.strip_prefix(*prefix).is_some_and(|rest| rest.starts_with('_'))
    };
    CHAPTERS
        .iter()
        .position(|(_, prefixes)| prefixes.iter().any(fits))
        .expect("the last chapter accepts every name")
}

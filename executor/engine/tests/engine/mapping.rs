//! Keeps `tests/cases/README.md` true: which rule of the language is held by which case. `ORCHID_BLESS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

/// Chapters, and what the names of their cases begin with; the first that fits takes a case.
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
        "What an answer means",
        &["abort", "ignore", "accept", "retry", "retries", "permanent", "network", "rate", "outcome"],
    ),
    (
        "Bodies",
        &[
            "body", "json", "jsonl", "csv", "xml", "text", "binary", "decode", "format", "stream", "too",
            "charset", "response",
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
    ("Context and extract", &["context", "set", "extract", "copied"]),
    (
        "Messages",
        &["chunk", "chunks", "emit", "redaction", "secret", "traced", "object", "message", "record"],
    ),
    (
        "Checkpoints, parks and stops",
        &["checkpoint", "resumed", "cancel", "drain", "sink", "time", "parked", "park"],
    ),
    ("Warnings", &["path", "filter", "warning"]),
    ("Everything else", &[""]),
];

const HEAD: &str = "# Which test holds which rule

Each case below is a folder: `plan.json` against the answers of `exchange.json` gives `expected.ndjson`, byte by byte
(`executor/engine/tests/engine/golden.rs`). The rule that a case stands for is its sentence. What no case can show is held elsewhere:

| rules | tests |
|---|---|
| every field of a document: types, bounds, defaults, conflicts, \"did you mean\"; all faults at once | `sdk/plan/src/document/tests` |
| names in scope, traps, the official JMESPath cases with a reason for each that is refused | `sdk/plan/src/expr/tests.rs`, `exactness.rs` |
| every function, by its documented example | `sdk/plan/src/functions` (`table.rs`), `docs/plan-language.md` by `document/docs.rs` |
| hostile documents, templates, expressions and bodies end within their bounds | `sdk/plan/src/fuzz`, `sdk/plan/src/document/tests/hostile.rs`, `executor/engine/tests/engine/hostile.rs` |
| pieces of a body, cut anywhere, give the rows of the whole | `executor/engine/src/body/properties.rs` |
| a run ends within its bounds, replays byte by byte, and loses nothing from whichever checkpoint it goes on | `executor/engine/tests/engine/properties.rs`, `fan_outs.rs` and the files beside them |
| no message tells a secret | `executor/engine/tests/engine/canary.rs` |
| compression, zip, cookies, time-outs, proxies, certificates, HTTP/2, redirects on real sockets | `executor/tests/fetch` |
| cron, catch-up, overlap, repeat count | `control-plane/domain/src`, `tests/integration/{schedule,cron}.rs` |
| cursors and validators from run to run; cancels that an upstream is told of | `tests/integration/cursors.rs`, `executions.rs` |
| real APIs, as their servers behave | `tests/integration/examples` |
";

#[test]
fn the_list_of_cases_is_fresh() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let mut names: Vec<String> = std::fs::read_dir(&cases)
        .expect("tests/cases is there")
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut page = HEAD.to_owned();
    for (chapter, (title, _)) in CHAPTERS.iter().enumerate() {
        let here: Vec<&String> = names.iter().filter(|name| chapter_of(name) == chapter).collect();
        if here.is_empty() {
            continue;
        }
        write!(page, "\n## {title}\n\n").unwrap();
        for name in here {
            let exchange = std::fs::read(cases.join(name).join("exchange.json")).unwrap();
            let exchange: Value = serde_json::from_slice(&exchange).unwrap();
            writeln!(page, "- {} — [`{name}`]({name})", exchange["says"].as_str().unwrap()).unwrap();
        }
    }
    let file = cases.join("README.md");
    if std::env::var_os("ORCHID_BLESS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "tests/cases/README.md is not fresh: ORCHID_BLESS=1 writes it anew");
}

fn chapter_of(name: &str) -> usize {
    let fits = |prefix: &&str| {
        prefix.is_empty()
            || name == *prefix
            || name.strip_prefix(*prefix).is_some_and(|rest| rest.starts_with('_'))
    };
    CHAPTERS.iter().position(|(_, prefixes)| prefixes.iter().any(fits)).expect("the last takes all")
}

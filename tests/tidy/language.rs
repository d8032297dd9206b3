//! The repository's English: stock phrases that a reader has to decode, and the width of prose.
//!
//! The list of phrases is short on purpose. Add one when it has crept in twice, with the words to
//! write instead.

use regex::Regex;

use crate::tree::{self, TextFile};

/// Columns that comments and Markdown may take.
const PROSE_COLUMNS: usize = 100;

/// Files that tools write, or whose text is data.
const GENERATED: [&str; 4] = ["Cargo.lock", "docs/plan.schema.json", "docs/benchmarks.md", "LICENSE"];

/// Files in which a phrase is right: the system user of that name, and an error text that consumers
/// know.
const EXEMPT: [&str; 2] = ["sdk/kit/src/servers/account.rs", "executor/engine/src/body/xml.rs"];

/// A phrase to avoid, and the cure.
struct StockPhrase {
    pattern: Regex,
    instead: &'static str,
}

fn stock_phrases() -> Vec<StockPhrase> {
    // Written in pieces, so that this file passes its own test.
    let phrase = |pieces: &[&str], instead| StockPhrase {
        pattern: Regex::new(&format!("(?i){}", pieces.concat())).expect("a regex"),
        instead,
    };
    vec![
        phrase(
            &[r"\bstan", r"ds? (in|there|at|on|beside|behind|before|apart|as|by)\b"],
            "\"is in\", \"is written to\", \"contains\"",
        ),
        phrase(&[r"\bno", r"body\b"], "name who: no caller, no executor"),
        phrase(&[r"\bsome", r"body\b"], "name who: a caller, another transaction"),
        phrase(
            &[r"\bsa", r"ys (what|which|where|whether|how|who|whose|by which)\b"],
            "\"describes\", \"lists\", \"names\"",
        ),
        phrase(&[r"\bin any ", r"case\b"], "\"always\", \"regardless\""),
        phrase(&[r"\bgoes ", r"round\b"], "\"runs\", \"loops\""),
        phrase(&[r"\bof its ", r"own accord\b"], "\"by itself\""),
        phrase(&[r"\bnone of it", r"s own\b"], "\"does not have one\""),
        phrase(&[r"\bby it", r"s own words\b"], "\"as it reports\""),
        phrase(&[r"\bso many", r"[,:;.]"], "give the number's meaning"),
    ]
}

/// Comments, documents and messages: every text of the repository except data and what tools write.
fn prose() -> impl Iterator<Item = TextFile> {
    tree::texts().into_iter().filter(|file| {
        let data = file.name.starts_with("tests/cases/") && file.name.ends_with("json");
        !data && !file.name.ends_with("package-lock.json") && !GENERATED.contains(&file.name.as_str())
    })
}

#[test]
fn stock_phrases_are_absent() {
    let phrases = stock_phrases();
    let mut found = Vec::new();
    for file in prose().filter(|file| !EXEMPT.contains(&file.name.as_str())) {
        for (number, line) in file.text.lines().enumerate() {
            for phrase in &phrases {
                if let Some(words) = phrase.pattern.find(line) {
                    let (name, number, words) = (&file.name, number + 1, words.as_str());
                    found.push(format!("{name}:{number}: {words:?}; better: {}", phrase.instead));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} stock phrases:\n{}", found.len(), found.join("\n"));
}

#[test]
fn docs_open_with_a_verb_or_a_noun() {
    let question =
        Regex::new(r"^(What|Which|Whose|Whom|Who|How (far|many|much)|So (many|much)|By (which|what))\b")
            .expect("a regex");
    let mut found = Vec::new();
    for file in tree::texts().into_iter().filter(|file| file.name.ends_with(".rs")) {
        let mut inside = false;
        for (number, line) in file.text.lines().enumerate() {
            let doc = line.trim_start().strip_prefix("///").or_else(|| line.trim_start().strip_prefix("//!"));
            if let Some(doc) = doc.filter(|_| !inside)
                && question.is_match(doc.trim_start())
            {
                found.push(format!("{}:{}:{doc}", file.name, number + 1));
            }
            inside = doc.is_some();
        }
    }
    let cure = "functions open with a verb (\"Returns …\"), types and fields with a noun";
    assert!(
        found.is_empty(),
        "{} docs open with a question word; {cure}:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn prose_wraps_at_its_width() {
    let mut found = Vec::new();
    for file in prose() {
        let wide: Vec<usize> = match file.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("rs" | "proto" | "sql") => wide_comments(&file.text),
            Some("md") => wide_markdown(&file.text),
            _ => Vec::new(),
        };
        found.extend(wide.into_iter().map(|number| format!("{}:{number}", file.name)));
    }
    let count = found.len();
    found.truncate(40);
    assert!(found.is_empty(), "{count} lines of prose pass {PROSE_COLUMNS} columns:\n{}", found.join("\n"));
}

/// Whether a line is too wide and could be wrapped: a long url or name cannot.
fn is_too_wide(line: &str) -> bool {
    let columns = line.chars().count();
    let longest = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    columns > PROSE_COLUMNS && longest < PROSE_COLUMNS - 20
}

/// Numbers of the lines that hold nothing but a comment and are too wide. Tables and code in docs
/// keep their lines.
fn wide_comments(text: &str) -> Vec<usize> {
    let mut fenced = false;
    let mut wide = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let marks = ["///", "//!", "//", "--"];
        let Some(comment) = marks.iter().find_map(|mark| trimmed.strip_prefix(mark)) else {
            fenced = false;
            continue;
        };
        fenced ^= comment.trim_start().starts_with("```");
        if !fenced && !comment.trim_start().starts_with('|') && is_too_wide(line) {
            wide.push(number + 1);
        }
    }
    wide
}

/// The same for Markdown: tables, code, headings and link definitions keep their lines.
fn wide_markdown(text: &str) -> Vec<usize> {
    let mut fenced = false;
    let mut wide = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        fenced ^= trimmed.starts_with("```");
        let kept =
            trimmed.starts_with(['|', '#', '<']) || (trimmed.starts_with('[') && trimmed.contains("]: "));
        if !fenced && !kept && is_too_wide(line) {
            wide.push(number + 1);
        }
    }
    wide
}

#[test]
fn wide_prose_is_found_and_tables_are_not() {
    let wide = "word ".repeat(30);
    assert_eq!(wide_comments(&format!("/// {wide}\nlet a = 1; // {wide}\n// | {wide}|")), [1]);
    assert_eq!(wide_markdown(&format!("{wide}\n| {wide}|\n```\n{wide}\n```\n{wide}")), [1, 6]);
    assert_eq!(wide_markdown(&"x".repeat(150)), [0; 0]);
}

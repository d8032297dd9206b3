//! File sizes, module headers, banned words and links between documents.

use regex::Regex;

use crate::tree;

const MOST_LINES: usize = 500;
const MOST_BYTES: u64 = 1 << 20;

#[test]
fn rust_files_stay_within_the_line_budget() {
    let long: Vec<String> = tree::sources()
        .iter()
        .map(|file| (tree::before_tests(&file.text).lines().count(), &file.name))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, name)| format!("{name}: {lines} lines, at most {MOST_LINES}"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_module_has_a_header() {
    let silent: Vec<String> = tree::sources()
        .into_iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| file.name)
        .collect();
    assert!(silent.is_empty(), "these do not begin with `//!`:\n{}", silent.join("\n"));
}

#[test]
fn no_file_exceeds_the_size_limit() {
    let large: Vec<String> = tree::files()
        .into_iter()
        .filter(|(_, bytes)| *bytes > MOST_BYTES)
        .map(|(path, bytes)| format!("{}: {bytes} bytes", path.display()))
        .collect();
    assert!(large.is_empty(), "{}", large.join("\n"));
}

/// Returns the banned words with the reason for each.
fn banned() -> Vec<(Regex, &'static str)> {
    // The words are split into pieces, so that this file passes.
    let any = |words: &[&[&str]]| {
        let words: Vec<String> = words.iter().map(|pieces| pieces.concat()).collect();
        Regex::new(&words.join("|")).expect("a regex")
    };
    vec![
        (
            any(&[
                &["crates", r"\.io"],
                &["registry", r"\.npmjs"],
                &["pypi", r"\.org"],
                &["files", r"\.pythonhosted"],
                &["proxy", r"\.golang"],
                &["repo", r"1?\.maven"],
                &["docker", r"\.io"],
            ]),
            "where packages come from is the machine's business",
        ),
        (
            any(&[
                &["(^|[^A-Za-z0-9_.$}])/", "root/"],
                &["/home", "/[a-z]"],
                &["/Users", "/[A-Za-z]"],
                &["/wo", "rk/"],
            ]),
            "a path of one machine",
        ),
        (
            any(&[
                &["DESI", r"GN\.md"],
                &["PLAN_", r"SPEC"],
                &["MESSAG", r"ES\.md"],
                &["STY", r"LE\.md"],
                &["STA", r"CK\.md"],
                &["BEN", r"CH\.md"],
                &["TE", r"AM\.md"],
                &["share", r"d/[A-Z]"],
            ]),
            "not in this repository",
        ),
        (
            any(&[&[r"\bTO", r"DO\b"], &[r"\bFIX", r"ME\b"], &[r"\bX", r"XX\b"], &[r"\bHA", r"CK\b"]]),
            "do it, or leave it",
        ),
        (
            any(&[
                &["BEGIN [A-Z ]*PRIV", r"ATE KEY-----(\\n)?[A-Za-z0-9+/]{16}"],
                &["AKIA", "[0-9A-Z]{16}"],
                &["gh", "p_[A-Za-z0-9]{36}"],
            ]),
            "a secret",
        ),
    ]
}

#[test]
fn banned_words_are_absent() {
    let banned = banned();
    let mut found = Vec::new();
    for file in tree::texts() {
        // Lock files are written by tools.
        if file.name == "Cargo.lock" || file.name.ends_with("package-lock.json") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for (words, reason) in &banned {
                if let Some(word) = words.find(line) {
                    found.push(format!("{}:{}: {:?}: {reason}", file.name, number + 1, word.as_str()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn links_between_documents_resolve() {
    let link = Regex::new(r"\]\(([^)#\s]+)(#[^)]*)?\)").expect("a regex");
    let mut broken = Vec::new();
    for file in tree::texts() {
        if !file.name.ends_with(".md") {
            continue;
        }
        let folder = tree::root().join(&file.name).parent().expect("a folder").to_owned();
        for found in link.captures_iter(&file.text) {
            let target = &found[1];
            if !target.contains("://") && !target.starts_with("mailto:") && !folder.join(target).exists() {
                broken.push(format!("{}: {target}", file.name));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

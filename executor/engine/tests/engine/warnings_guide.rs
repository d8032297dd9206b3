//! Compares the warnings that the engine adds to an execution with those of the guide.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const GUIDE: &str = include_str!("../../../../docs/plan-language.md");

/// Adds the files of a folder and of those below it.
fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { add_files(&path, files) } else { files.push(path) }
    }
}

#[test]
fn guide_lists_every_warning_of_an_execution() {
    let mut files = Vec::new();
    add_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut codes = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        // Only warnings own their code; those of errors are static.
        let pieces = text.split("code: \"").skip(1).filter_map(|rest| rest.split_once('"'));
        codes.extend(
            pieces.filter(|(_, rest)| rest.starts_with(".to_owned()")).map(|(code, _)| code.to_owned()),
        );
    }
    assert!(codes.len() > 10, "{codes:?}");
    let table = GUIDE.split("warnings of executions: a test compares the codes -->\n\n").nth(1).unwrap();
    let rows = table.lines().take_while(|line| !line.is_empty());
    let listed: Vec<&str> = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, codes.iter().map(String::as_str).collect::<Vec<_>>());
}

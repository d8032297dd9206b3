//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders without sources of this repository (`.git` may also be a file).
const NOT_OURS: [&str; 6] = [".git", ".orchid", "target", "node_modules", "__pycache__", ".venv"];

/// A file that is text.
pub(crate) struct TextFile {
    /// The path from the repository's root, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Returns the repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository")
}

/// Returns every file with its size.
pub(crate) fn files() -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    assert!(found.len() > 100, "the walk went wrong: {} files", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        if NOT_OURS.contains(&entry.file_name().to_string_lossy().as_ref()) {
            continue;
        }
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            collect(&entry.path(), found);
        } else if kind.is_file() {
            found.push((entry.path(), entry.metadata().expect("metadata").len()));
        }
    }
}

/// Returns every text file.
pub(crate) fn texts() -> Vec<TextFile> {
    files()
        .into_iter()
        .filter_map(|(path, _)| {
            let text = String::from_utf8(fs::read(&path).ok()?).ok()?;
            let name =
                path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            Some(TextFile { name, text })
        })
        .collect()
}

/// Returns the Rust files of the crates, without separate test files.
pub(crate) fn sources() -> Vec<TextFile> {
    let mut files = texts();
    files.retain(|file| {
        let tests = file.name.contains("/tests/")
            || file.name.ends_with("/tests.rs")
            || file.name.starts_with("tests/");
        file.name.ends_with(".rs") && !tests
    });
    files
}

/// Returns the text of a Rust file before its own tests.
pub(crate) fn before_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

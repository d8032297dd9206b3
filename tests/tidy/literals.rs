//! Finds the string literals of a Rust file.

/// Returns every string literal outside comments, with raw escapes and its line number.
pub(crate) fn strings(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some((before, literal)) = next(rest) {
        let start = source.len() - rest.len() + before;
        let line = source[..start].matches('\n').count() + 1;
        found.push((line, literal.text.to_owned()));
        rest = &rest[before + literal.length..];
    }
    found
}

struct StringLiteral<'a> {
    text: &'a str,
    length: usize,
}

/// Returns the next literal and the number of bytes before it.
fn next(source: &str) -> Option<(usize, StringLiteral<'_>)> {
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            at += rest.find("\"'").map_or(rest.len(), |end| end + 2);
        } else if let Some(literal) = raw(rest).or_else(|| plain(rest)) {
            return Some((at, literal));
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

fn raw(rest: &str) -> Option<StringLiteral<'_>> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = body.find(&format!("\"{}", "#".repeat(hashes)))?;
    Some(StringLiteral { text: &body[..end], length: 1 + hashes + 1 + end + 1 + hashes })
}

fn plain(rest: &str) -> Option<StringLiteral<'_>> {
    let body = rest.strip_prefix('"')?;
    let mut escaped = false;
    let end = body.find(|letter: char| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    })?;
    Some(StringLiteral { text: &body[..end], length: end + 2 })
}

#[test]
fn string_literals_are_found_outside_comments() {
    let source = "let a = \"one \\\" two\"; // \"no\"\nlet c = '\"'; /* \"no\" */ let b = r#\"three \" four\"#; \"\u{e9}\"";
    let found = strings(source);
    let expected = [(1, "one \\\" two"), (2, "three \" four"), (2, "\u{e9}")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

//! Splits a file of SQL into its statements.
//!
//! A distributed database (Citus) takes one command per message. Semicolons inside quotes, dollar
//! quotes and comments end no statement.

/// Returns the statements of a text, without those that hold nothing but comments.
pub(crate) fn split(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut at, mut is_empty) = (0, 0, true);
    while let Some(letter) = sql[at..].chars().next() {
        let rest = &sql[at..];
        if letter == ';' {
            if !is_empty {
                statements.push(sql[start..at].trim());
            }
            at += 1;
            (start, is_empty) = (at, true);
            continue;
        }
        let comment = comment_length(rest);
        is_empty &= comment.is_some() || letter.is_whitespace();
        at += comment.or_else(|| quoted_length(rest)).unwrap_or(letter.len_utf8());
    }
    if !is_empty {
        statements.push(sql[start..].trim());
    }
    statements
}

/// Returns the length of the comment at the start of a text, if there is one.
fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let body = text.strip_prefix("/*")?;
    Some(body.find("*/").map_or(text.len(), |end| end + 4))
}

/// Returns the length of the quoted text at the start of a text, if there is one. A doubled quote
/// inside quotes is two quoted texts in a row.
fn quoted_length(text: &str) -> Option<usize> {
    let quote = match text.chars().next()? {
        quote @ ('\'' | '"') => quote.to_string(),
        '$' => {
            let tag = text[1..].find('$')?;
            let is_tag = text[1..=tag].chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            is_tag.then(|| text[..tag + 2].to_owned())?
        }
        _ => return None,
    };
    let body = &text[quote.len()..];
    Some(body.find(&quote).map_or(text.len(), |end| end + 2 * quote.len()))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn semicolons_in_quotes_and_comments_end_no_statement() {
        let cases: [(&str, &[&str]); 9] = [
            ("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"]),
            ("SELECT 1", &["SELECT 1"]),
            ("", &[]),
            ("-- a; b\n;\n/* c; */ ;", &[]),
            ("-- a; b\nSELECT 1;", &["-- a; b\nSELECT 1"]),
            ("SELECT ';', 'it''s;', \";\"; SELECT 2", &["SELECT ';', 'it''s;', \";\"", "SELECT 2"]),
            ("DO $$ BEGIN; END $$; SELECT 2", &["DO $$ BEGIN; END $$", "SELECT 2"]),
            ("DO $a$ x; $$ y; $$ $a$; SELECT 2", &["DO $a$ x; $$ y; $$ $a$", "SELECT 2"]),
            ("SELECT $1 + $2; SELECT 'ü;'", &["SELECT $1 + $2", "SELECT 'ü;'"]),
        ];
        for (sql, statements) in cases {
            assert_eq!(split(sql), statements, "{sql}");
        }
    }

    #[test]
    fn every_step_splits_into_statements_with_a_command() {
        for step in crate::STEPS {
            for statement in split(step.up).into_iter().chain(split(step.down)) {
                let quotes = statement.matches("$$").count();
                assert_eq!(quotes % 2, 0, "{}: {statement}", step.name);
            }
        }
    }
}

//! Patterns of file names, which select the files of an archive.

/// Maximum size of a pattern, in bytes.
pub(crate) const PATTERN_MAX_BYTES: usize = 256;

/// A pattern such as `*.csv` or `reports/*.json`.
///
/// `*` stands for any characters and `?` for one, other than `/`. A pattern without `/` is compared
/// with the last part of a path, any other one with the whole path. Upper and lower case ASCII
/// letters are the same, and the ending `.gz` of a file may be left out, because such files are
/// decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePattern(String);

impl FilePattern {
    /// Creates a pattern, or returns `None` if the text is empty or too long.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (1..=PATTERN_MAX_BYTES).contains(&text.len()).then(|| Self(text.to_owned()))
    }

    /// Returns the text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches a path, whose parts are separated by `/`.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let name = if self.0.contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
        let ending = name.len().saturating_sub(3);
        let plain = name.get(ending..).filter(|end| end.eq_ignore_ascii_case(".gz")).map(|_| &name[..ending]);
        [Some(name), plain].into_iter().flatten().any(|name| matches(self.0.as_bytes(), name.as_bytes()))
    }
}

/// Compares a name with a pattern. Only the last `*` is ever tried again, so the time is at most
/// the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut offset) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while offset < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, offset));
                at += 1;
                continue;
            }
            Some(b'?') if name[offset] != b'/' => {
                (at, offset) = (at + 1, end_of_char(name, offset));
                continue;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&name[offset]) => {
                (at, offset) = (at + 1, offset + 1);
                continue;
            }
            _ => {}
        }
        match star {
            // The star takes one more byte, which must not be a separator.
            Some((star_at, taken)) if name[taken] != b'/' => {
                star = Some((star_at, taken + 1));
                (at, offset) = (star_at + 1, taken + 1);
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Returns the offset behind the character at an offset of UTF-8.
fn end_of_char(text: &[u8], offset: usize) -> usize {
    let rest = &text[offset + 1..];
    offset + 1 + rest.iter().take_while(|byte| **byte & 0xC0 == 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_names_and_paths() {
        for (pattern, path, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "folder/in.zip/B.CSV", true),
            ("*.csv", "a.csv.gz", true),
            ("*.csv", "a.csv.txt", false),
            ("*", "anything", true),
            ("report_????.csv", "report_2026.csv", true),
            ("report_????.csv", "report_26.csv", false),
            ("?.csv", "ü.csv", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c2b", false),
            ("reports/*.csv", "reports/a.csv", true),
            ("reports/*.csv", "reports/2026/a.csv", false),
            ("reports/*.csv", "a.csv", false),
            ("*/*.csv", "reports/a.csv", true),
            ("a.csv", "b/a.csv", true),
            ("**", "x", true),
        ] {
            assert_eq!(FilePattern::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
        assert!(FilePattern::new("").is_none() && FilePattern::new(&"x".repeat(257)).is_none());
    }

    #[test]
    fn hostile_pattern_is_matched_in_time() {
        let pattern = FilePattern::new(&"*a".repeat(128)).unwrap();
        assert!(!pattern.matches(&("a".repeat(1000) + "b")));
    }
}

//! The text of a rendered url, with the places of its values: which of them decide the host, and
//! whether one of them changes the structure of the path.

use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::error::{RenderError, RenderErrorCode};
use crate::Expr;

/// A rendered url that is not parsed yet.
pub(super) struct UrlText<'t> {
    pub(super) text: String,
    pub(super) values: Vec<UrlValue<'t>>,
}

/// The value of an expression in a url.
pub(super) struct UrlValue<'t> {
    pub(super) expr: &'t Expr,
    pub(super) range: Range<usize>,
    /// True for an expression at the very beginning, which is the base of the url.
    pub(super) is_base: bool,
}

impl UrlText<'_> {
    /// Returns whether a value that the upstream has sent decides about scheme, host or port.
    pub(super) fn host_is_from_answer(&self) -> bool {
        // Url parsers remove tabs, line breaks and leading spaces, which could hide a host.
        let is_odd = self.text.starts_with(' ') || self.text.contains(char::is_control);
        let path = if is_odd { self.text.len() + 1 } else { path_start(&self.text) };
        self.values.iter().any(|value| value.range.start < path && value.expr.reads().includes_answers())
    }

    /// Checks the segments of the path. Percent-encoding does not protect dots: url parsers resolve
    /// `%2e%2e` like `..`, and so lead to another path than the plan's.
    ///
    /// # Errors
    /// Fails for a segment `.` or `..`, and for an empty one that an expression has made.
    pub(super) fn check_segments(&self, pointer: &str) -> Result<(), RenderError> {
        let path = path_range(&self.text);
        for (number, segment) in segments(&self.text, path.clone()).enumerate() {
            let problem = if let Some(dots) = dots(&self.text[segment.clone()]) {
                dots
            } else if segment.is_empty() && self.is_made_empty(segment.start, path.end) {
                "empty"
            } else {
                continue;
            };
            let source = self.values.iter().find(|value| touches(&value.range, &segment));
            let by = source.map_or_else(String::new, |value| format!(" by {{{{ {} }}}}", value.expr.text()));
            let message = format!(
                "path segment {number} is made {problem}{by}, which leads to another path; leave such values \
                 out with execute_if, or by a filter"
            );
            return Err(RenderError::new(RenderErrorCode::TemplateSegment, pointer, message));
        }
        Ok(())
    }

    /// Returns whether an expression has made the empty segment at this place: it is empty, or one
    /// of the slashes around the segment is from it. A slash at the end of the base is common, and
    /// does no harm; one at the end of the path is part of the value.
    fn is_made_empty(&self, at: usize, path_end: usize) -> bool {
        let is_in = |value: &UrlValue<'_>, index: usize| value.range.contains(&index);
        let of_base = |index: usize| self.values.iter().any(|value| value.is_base && is_in(value, index));
        let of_value = |index: usize| self.values.iter().any(|value| !value.is_base && is_in(value, index));
        if self.values.iter().any(|value| !value.is_base && value.range == (at..at)) {
            return true;
        }
        let (before, after) = (at.checked_sub(1), (at < path_end).then_some(at));
        let (Some(before), Some(after)) = (before, after) else { return false };
        (of_value(before) || of_value(after)) && !of_base(before)
    }
}

/// Returns whether a value lies in a segment, or makes up one of the slashes around it.
fn touches(value: &Range<usize>, segment: &Range<usize>) -> bool {
    value.start <= segment.end && segment.start <= value.end
}

/// Returns the first segment `.` or `..` in the path of a url's literal text.
pub(crate) fn literal_dots(text: &str) -> Option<&'static str> {
    segments(text, path_range(text)).find_map(|segment| dots(&text[segment]))
}

fn path_range(text: &str) -> Range<usize> {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    path_start(text).min(end)..end
}

/// Returns where the path begins, as url parsers see it: behind scheme and host, however many
/// slashes are between them, or at the beginning of a relative reference.
fn path_start(text: &str) -> usize {
    let is_scheme = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    let scheme = text.find(':').filter(|colon| is_scheme(text[..*colon].trim_start()));
    let rest = scheme.map_or(0, |colon| colon + 1);
    let slashes = text[rest..].len() - text[rest..].trim_start_matches(['/', '\\']).len();
    if scheme.is_none() && slashes < 2 {
        return 0;
    }
    let host = rest + slashes;
    text[host..].find(['/', '\\', '?', '#']).map_or(text.len(), |length| host + length)
}

/// Iterates over the segments of a path. Url parsers read a backslash like a slash.
fn segments(text: &str, path: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    // The slash at the beginning starts the first segment.
    let first = path.start + usize::from(text[path.clone()].starts_with(['/', '\\']));
    let mut at = (first < path.end || first > path.start).then_some(first);
    std::iter::from_fn(move || {
        let start = at?;
        let end = text[start..path.end].find(['/', '\\']).map_or(path.end, |length| start + length);
        at = (end < path.end).then_some(end + 1);
        Some(start..end)
    })
}

/// Returns `.` or `..` if the segment is that, encoded or not. Url parsers remove tabs and line
/// breaks before they read a url.
fn dots(segment: &str) -> Option<&'static str> {
    if !segment.bytes().all(|byte| matches!(byte, b'.' | b'%' | b'2' | b'e' | b'E' | b'\t' | b'\r' | b'\n')) {
        return None;
    }
    let plain: String = segment.chars().filter(|char| !char.is_control()).collect();
    match &*percent_decode_str(&plain).decode_utf8_lossy() {
        "." => Some("\".\""),
        ".." => Some("\"..\""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<&str> {
        segments(text, path_range(text)).map(|segment| &text[segment]).collect()
    }

    #[test]
    fn segments_are_those_of_the_path() {
        for (text, expected) in [
            ("https://h/a/b?x=/../y", vec!["a", "b"]),
            ("https://h/a//b/", vec!["a", "", "b", ""]),
            ("https://u:p@h:80/a#/..", vec!["a"]),
            ("https:\\\\h\\a\\..", vec!["a", ".."]),
            ("https://h", vec![]),
            ("https://h?a=/..", vec![]),
            ("https://h/", vec![""]),
            ("/jobs/1", vec!["jobs", "1"]),
            ("jobs/..", vec!["jobs", ".."]),
            ("//h/a", vec!["a"]),
            ("?x", vec![]),
        ] {
            assert_eq!(paths(text), expected, "{text}");
        }
    }

    #[test]
    fn dots_are_found_encoded_too() {
        for segment in [".", "..", "%2e", "%2E.", ".%2e", "%2e%2E", ".\t.", "\n%2e"] {
            assert!(dots(segment).is_some(), "{segment:?}");
        }
        for segment in ["", "...", "a", "..a", "%252e", "%2f..", "2", ".%2"] {
            assert!(dots(segment).is_none(), "{segment:?}");
        }
    }
}

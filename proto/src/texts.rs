//! Checks the texts of requests against the limits that the `.proto` files declare.
//!
//! The build generates [`CheckTexts`] for every message of a request, and fails if one of its texts
//! declares no kind. So no text reaches a command that the database cannot store, and none is so
//! long that handling it costs time.

use prost_types::FieldMask;

/// Maximum number of problems of one request that are reported.
const MAX_PROBLEMS: usize = 20;
/// Maximum number of texts in a list.
const MAX_ELEMENTS: usize = 1000;

/// The content of a text. The variants are described in `orchid/options/v1/options.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// The key of a resource.
    Key,
    /// An id that the server or the caller has generated.
    Id,
    /// A token that the server has issued.
    Token,
    /// One line for people.
    Line,
    /// Text for people.
    Paragraph,
    /// A URL or host.
    Address,
    /// PEM.
    Pem,
    /// JSON.
    Json,
    /// Output of the server.
    Output,
}

impl TextKind {
    /// Returns the maximum size in bytes.
    #[must_use]
    pub fn max_bytes(self) -> usize {
        match self {
            Self::Key => 128,
            Self::Id => 64,
            Self::Token => 1024,
            Self::Line => 200,
            Self::Paragraph => 4096,
            Self::Address => 2048,
            Self::Pem => 256 * 1024,
            Self::Json => 1024 * 1024,
            Self::Output => 64 * 1024,
        }
    }

    fn has_lines(self) -> bool {
        match self {
            Self::Paragraph | Self::Pem | Self::Json | Self::Output => true,
            Self::Key | Self::Id | Self::Token | Self::Line | Self::Address => false,
        }
    }
}

/// A text that the server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextProblem {
    /// RFC 6901 pointer to the text. It starts at the resource, if the request carries one.
    pub pointer: String,
    /// Whether the text is too long; otherwise it has a character that is not allowed.
    pub is_too_large: bool,
    /// Explanation, which never shows the text.
    pub message: String,
}

/// A message whose texts can be checked.
pub trait CheckTexts {
    /// Checks the texts of this message and of those in it.
    fn check_texts(&self, check: &mut TextCheck);
}

/// Returns the problems of the texts of a request.
pub fn text_problems(request: &impl CheckTexts) -> Vec<TextProblem> {
    let mut check = TextCheck::default();
    request.check_texts(&mut check);
    check.problems
}

/// The problems found so far, and the place of the message that is checked.
#[derive(Debug, Default)]
pub struct TextCheck {
    pointer: String,
    problems: Vec<TextProblem>,
}

impl TextCheck {
    /// Checks one text.
    pub(crate) fn text(&mut self, field: &str, text: &str, kind: TextKind) {
        if let Some((is_too_large, message)) = problem(text, kind) {
            self.report(&format!("/{field}"), is_too_large, message);
        }
    }

    /// Checks the texts of a list.
    pub(crate) fn list(&mut self, field: &str, texts: &[String], kind: TextKind) {
        if texts.len() > MAX_ELEMENTS {
            let message = format!("has {} elements; the limit is {MAX_ELEMENTS}", texts.len());
            return self.report(&format!("/{field}"), true, message);
        }
        for (index, text) in texts.iter().enumerate() {
            if let Some((is_too_large, message)) = problem(text, kind) {
                self.report(&format!("/{field}/{index}"), is_too_large, message);
            }
        }
    }

    /// Checks the paths of a field mask.
    pub(crate) fn mask(&mut self, field: &str, mask: Option<&FieldMask>) {
        if let Some(mask) = mask {
            self.within(&format!("/{field}"), |check| check.list("paths", &mask.paths, TextKind::Key));
        }
    }

    /// Checks a message in this one.
    pub(crate) fn within(&mut self, place: &str, check: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push_str(place);
        check(self);
        self.pointer.truncate(length);
    }

    fn report(&mut self, place: &str, is_too_large: bool, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            let pointer = format!("{}{place}", self.pointer);
            self.problems.push(TextProblem { pointer, is_too_large, message });
        }
    }
}

fn problem(text: &str, kind: TextKind) -> Option<(bool, String)> {
    let (size, limit) = (text.len(), kind.max_bytes());
    if size > limit {
        return Some((true, format!("the text has {size} bytes; the limit is {limit}")));
    }
    let is_line_break = |letter: char| kind.has_lines() && matches!(letter, '\n' | '\r' | '\t');
    let letter = text.chars().find(|letter| letter.is_control() && !is_line_break(*letter))?;
    Some((false, format!("the control character U+{:04X} is not allowed", u32::from(letter))))
}

include!(concat!(env!("OUT_DIR"), "/texts.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    fn pointers(request: &impl CheckTexts) -> Vec<(String, bool)> {
        let problems = text_problems(request).into_iter();
        problems.map(|problem| (problem.pointer, problem.is_too_large)).collect()
    }

    #[test]
    fn problems_point_at_texts_below_the_resource() {
        let certificate = v1::ClientCertificate { certificate: "a\nb".into(), key: "\0".into() };
        let transport = v1::Transport {
            allowed_hosts: vec!["a".into(), "b\u{7f}".into()],
            client_certificate: Some(certificate),
            ..Default::default()
        };
        let request = v1::CreateConfigRequest {
            config: Some(v1::Config {
                key: "k".repeat(129),
                display_name: "one\nline".into(),
                transport: Some(transport),
                ..Default::default()
            }),
            request_id: "\u{1}".into(),
        };
        let expected = [
            ("/key", true),
            ("/display_name", false),
            ("/transport/client_certificate/key", false),
            ("/transport/allowed_hosts/1", false),
            ("/request_id", false),
        ];
        assert_eq!(pointers(&request), expected.map(|(pointer, large)| (pointer.to_owned(), large)));
    }

    #[test]
    fn long_lists_and_masks_are_refused() {
        let mask = |paths| v1::UpdateConfigRequest { update_mask: Some(FieldMask { paths }), config: None };
        assert_eq!(pointers(&mask(vec![String::new(); 1001])), [("/update_mask/paths".to_owned(), true)]);
        assert_eq!(pointers(&mask(vec!["\0".to_owned(); 900])).len(), MAX_PROBLEMS);
        assert_eq!(pointers(&mask(vec!["values".to_owned()])), []);
    }

    #[test]
    fn text_is_never_shown() {
        let problems = text_problems(&v1::GetPlanRequest { key: "hush\0".into() });
        assert_eq!(problems[0].message, "the control character U+0000 is not allowed");
    }
}

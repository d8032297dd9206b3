//! Detects the format of a body from the step's rules, else from its content type.

use orchid_plan::{ResponseFormat, ResponseRules};

use crate::media_type::media_type;

/// The format in which a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    Json,
    /// The content type is missing: JSON if it parses, otherwise text.
    JsonOrText,
    JsonLines,
    Csv,
    Xml,
    Text,
    Binary,
}

impl BodyFormat {
    /// Returns the format that the rules set, or the one of the content type for `auto`.
    pub(super) fn detect(rules: &ResponseRules, content_type: &str) -> Self {
        match rules.format {
            ResponseFormat::Auto => Self::from_content_type(content_type),
            ResponseFormat::Json => Self::Json,
            ResponseFormat::Jsonl => Self::JsonLines,
            ResponseFormat::Xml => Self::Xml,
            ResponseFormat::Csv => Self::Csv,
            ResponseFormat::Text => Self::Text,
            ResponseFormat::Binary => Self::Binary,
        }
    }

    /// Returns the format of a content type.
    pub(crate) fn from_content_type(content_type: &str) -> Self {
        match media_type(content_type).as_str() {
            "" => Self::JsonOrText,
            "application/json" | "text/json" => Self::Json,
            "application/xml" | "text/xml" => Self::Xml,
            "text/csv" | "application/csv" => Self::Csv,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/json-lines"
            | "application/jsonlines" => Self::JsonLines,
            other if other.ends_with("+json") => Self::Json,
            // Only `application/*+xml`: `image/svg+xml`, for one, is treated as binary.
            other if other.ends_with("+xml") && other.starts_with("application/") => Self::Xml,
            other if other.starts_with("text/") => Self::Text,
            _ => Self::Binary,
        }
    }
}

/// Returns the kind of a packed body, by its first bytes: no text begins with them.
pub(super) fn packed_kind(body: &[u8]) -> Option<&'static str> {
    match body {
        [b'P', b'K', 3, 4, ..] => Some("a zip archive"),
        [0x1F, 0x8B, 8, ..] => Some("gzip"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::BodyStreaming;

    #[test]
    fn content_type_selects_the_format() {
        let cases: [(&[&str], BodyFormat); 7] = [
            (
                &[
                    "application/json",
                    "Application/JSON; charset=utf-8",
                    "application/hal+json",
                    "application/json, application/json; charset=utf-8",
                ],
                BodyFormat::Json,
            ),
            (&["", " ; charset=utf-8"], BodyFormat::JsonOrText),
            (&["application/x-ndjson", "application/jsonl", "application/json-lines"], BodyFormat::JsonLines),
            (&["text/csv; header=present", "application/csv"], BodyFormat::Csv),
            (&["text/xml", "application/xml;charset=utf-8", "application/soap+xml"], BodyFormat::Xml),
            (&["text/plain", "text/html", "text/html, application/json"], BodyFormat::Text),
            (
                &["image/svg+xml", "application/pdf", "nonsense", "application/json, text/html"],
                BodyFormat::Binary,
            ),
        ];
        for (content_types, format) in cases {
            for content_type in content_types {
                assert_eq!(
                    BodyFormat::detect(&ResponseRules::default(), content_type),
                    format,
                    "{content_type:?}"
                );
            }
        }
    }

    #[test]
    fn plan_format_overrides_the_content_type() {
        for (format, expected) in [
            (ResponseFormat::Json, BodyFormat::Json),
            (ResponseFormat::Jsonl, BodyFormat::JsonLines),
            (ResponseFormat::Xml, BodyFormat::Xml),
            (ResponseFormat::Csv, BodyFormat::Csv),
            (ResponseFormat::Text, BodyFormat::Text),
            (ResponseFormat::Binary, BodyFormat::Binary),
        ] {
            let rules = ResponseRules { format, ..ResponseRules::default() };
            assert_eq!(BodyFormat::detect(&rules, "image/png"), expected);
        }
    }

    #[test]
    fn types_streamed_by_content_type_are_the_types_with_rows() {
        for content_type in [
            "",
            "application/json",
            "text/csv",
            "application/csv",
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/json-lines",
            "application/jsonlines",
            "application/x-ndjson, application/x-ndjson",
            "text/xml",
            "text/plain",
        ] {
            let format = BodyFormat::detect(&ResponseRules::default(), content_type);
            let rows = matches!(format, BodyFormat::JsonLines | BodyFormat::Csv);
            assert_eq!(BodyStreaming::ByContentType.applies(200, content_type), rows, "{content_type}");
        }
    }
}

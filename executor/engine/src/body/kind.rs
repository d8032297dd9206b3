//! What a body is taken for: by the step's rules, else by its content type.

use orchid_plan::{ResponseFormat, ResponseRules};

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Json,
    /// Nobody said what it is.
    JsonOrText,
    JsonLines,
    Csv,
    Xml,
    Text,
    Binary,
}

impl Taken {
    pub(super) fn by(rules: &ResponseRules, content_type: &str) -> Taken {
        match rules.format {
            ResponseFormat::Auto => Taken::by_media_type(&media_type(content_type)),
            ResponseFormat::Json => Taken::Json,
            ResponseFormat::Jsonl => Taken::JsonLines,
            ResponseFormat::Xml => Taken::Xml,
            ResponseFormat::Csv => Taken::Csv,
            ResponseFormat::Text => Taken::Text,
            ResponseFormat::Binary => Taken::Binary,
        }
    }

    fn by_media_type(media_type: &str) -> Taken {
        match media_type {
            "" => Taken::JsonOrText,
            "application/json" | "text/json" => Taken::Json,
            "application/xml" | "text/xml" => Taken::Xml,
            "text/csv" | "application/csv" => Taken::Csv,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/json-lines"
            | "application/jsonlines" => Taken::JsonLines,
            other if other.ends_with("+json") => Taken::Json,
            other if other.ends_with("+xml") && other.starts_with("application/") => Taken::Xml,
            other if other.starts_with("text/") => Taken::Text,
            _ => Taken::Binary,
        }
    }
}

/// The content type without its parameters, in lower case.
pub(super) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::BodyStreaming;

    #[test]
    fn the_content_type_says_what_a_body_is() {
        let cases: [(&[&str], Taken); 7] = [
            (&["application/json", "Application/JSON; charset=utf-8", "application/hal+json"], Taken::Json),
            (&["", " ; charset=utf-8"], Taken::JsonOrText),
            (&["application/x-ndjson", "application/jsonl", "application/json-lines"], Taken::JsonLines),
            (&["text/csv; header=present", "application/csv"], Taken::Csv),
            (&["text/xml", "application/xml;charset=utf-8", "application/soap+xml"], Taken::Xml),
            (&["text/plain", "text/html"], Taken::Text),
            (&["image/svg+xml", "application/pdf", "nonsense"], Taken::Binary),
        ];
        for (content_types, taken) in cases {
            for content_type in content_types {
                assert_eq!(Taken::by(&ResponseRules::default(), content_type), taken, "{content_type:?}");
            }
        }
    }

    #[test]
    fn the_plan_says_it_before_the_content_type() {
        for (format, taken) in [
            (ResponseFormat::Json, Taken::Json),
            (ResponseFormat::Jsonl, Taken::JsonLines),
            (ResponseFormat::Xml, Taken::Xml),
            (ResponseFormat::Csv, Taken::Csv),
            (ResponseFormat::Text, Taken::Text),
            (ResponseFormat::Binary, Taken::Binary),
        ] {
            let rules = ResponseRules { format, ..ResponseRules::default() };
            assert_eq!(Taken::by(&rules, "image/png"), taken);
        }
    }

    #[test]
    fn what_comes_in_pieces_by_its_type_is_what_has_rows_by_its_type() {
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
            "text/xml",
            "text/plain",
        ] {
            let taken = Taken::by(&ResponseRules::default(), content_type);
            let rows = matches!(taken, Taken::JsonLines | Taken::Csv);
            assert_eq!(BodyStreaming::ByContentType.applies(200, content_type), rows, "{content_type}");
        }
    }
}

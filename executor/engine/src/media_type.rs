//! Media types of content types, also of those that are sent twice.

/// Returns the media type of a content type: in lower case, without parameters.
///
/// Repeated headers are joined with commas. The same type several times counts once; different
/// types are returned as they are, and match no known type.
pub(crate) fn media_type(content_type: &str) -> String {
    let mut types = split_list(content_type).map(|one| {
        let kind = one.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    let first = types.next().unwrap_or_default();
    if types.all(|other| other == first) { first } else { content_type.trim().to_ascii_lowercase() }
}

/// Splits at the commas outside of quotes, and leaves out empty elements (RFC 9110, 5.6.1).
fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let elements = value.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    });
    elements.filter(|element| !element.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_type_counts_once() {
        for (content_type, media) in [
            ("Application/JSON; charset=utf-8", "application/json"),
            ("application/json, application/json", "application/json"),
            ("application/json; charset=utf-8,application/json", "application/json"),
            ("text/csv; header=\"a,b\"", "text/csv"),
            ("application/json,", "application/json"),
            ("text/html, application/json", "text/html, application/json"),
            (" ; charset=utf-8", ""),
            ("", ""),
        ] {
            assert_eq!(media_type(content_type), media, "{content_type:?}");
        }
    }
}

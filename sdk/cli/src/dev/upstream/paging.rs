//! Pagination by a cursor: the start of the next page, encoded so that clients do not build it.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;
const CURSOR_PREFIX: &str = "orders/after/";

/// The reason why a query is invalid; the message goes to the client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PagingError {
    #[error("limit must be between 1 and {MAX_LIMIT}, not {0}")]
    Limit(usize),
    #[error("cursor `{0}` does not come from this API")]
    Cursor(String),
}

/// One page of the list of orders.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OrderPage {
    pub(super) rows: Range<usize>,
    pub(super) next_cursor: Option<String>,
}

/// Returns the page that a query asks for.
///
/// # Errors
/// When the limit is out of range or the cursor is not one of this API.
pub(super) fn page(
    count: usize,
    limit: Option<usize>,
    cursor: Option<&str>,
) -> Result<OrderPage, PagingError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(PagingError::Limit(limit));
    }
    let start = match cursor {
        Some(cursor) => position(cursor).ok_or_else(|| PagingError::Cursor(cursor.to_owned()))?,
        None => 0,
    };
    let end = count.min(start.saturating_add(limit));
    let next_cursor = (end < count).then(|| URL_SAFE_NO_PAD.encode(format!("{CURSOR_PREFIX}{end}")));
    Ok(OrderPage { rows: start.min(end)..end, next_cursor })
}

fn position(cursor: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    str::from_utf8(&bytes).ok()?.strip_prefix(CURSOR_PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_limit_or_cursor_is_refused_with_its_value() {
        assert_eq!(page(10, Some(0), None), Err(PagingError::Limit(0)));
        assert_eq!(page(10, Some(101), None), Err(PagingError::Limit(101)));
        for cursor in ["3", "%%%", "b3JkZXJz"] {
            let error = page(10, None, Some(cursor)).unwrap_err();
            assert_eq!(error.to_string(), format!("cursor `{cursor}` does not come from this API"));
        }
    }

    #[test]
    fn following_cursors_visits_every_row_once() {
        let mut rows = Vec::new();
        let mut cursor = None;
        loop {
            let page = page(1_987, Some(100), cursor.as_deref()).unwrap();
            rows.extend(page.rows);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(rows, (0..1_987).collect::<Vec<_>>());
    }

    #[test]
    fn last_full_page_has_no_next_cursor() {
        assert_eq!(page(100, Some(100), None), Ok(OrderPage { rows: 0..100, next_cursor: None }));
        assert_eq!(page(0, None, None), Ok(OrderPage { rows: 0..0, next_cursor: None }));
    }
}

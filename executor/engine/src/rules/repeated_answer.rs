//! Detects that an upstream answers page after page with the same body.
//!
//! Page numbers and offsets are new for every page, so the requests of such a loop never repeat
//! themselves: APIs that answer beyond their last page with the last page again would be read up to
//! a limit.

use orchid_plan::{OnRepeat, Pagination, PaginationKind};

use crate::body::Body;
use crate::checkpoint::loop_parts::LatestAnswer;
use crate::rules::repeat_guard::leading_number;

/// Number of passes before `max_loops` whose answers are compared in every loop, so that its error
/// can tell whether the API answered them all alike.
const PASSES_BEFORE_LIMIT: u64 = 8;

/// Returns whether a repeated answer ends the loop, or fails it.
pub(crate) fn is_watched(paginate: Option<&Pagination>) -> bool {
    paginate.is_some_and(|paginate| {
        let counted = matches!(paginate.kind, PaginationKind::Page { .. } | PaginationKind::Offset { .. });
        counted && paginate.on_repeat != OnRepeat::Allow
    })
}

/// Returns whether the answers of a loop are compared. `passes_left` is the number of passes that
/// `max_loops` leaves, this one included.
pub(crate) fn is_compared(paginate: Option<&Pagination>, passes_left: u64) -> bool {
    is_watched(paginate) || passes_left <= PASSES_BEFORE_LIMIT
}

/// Returns the fingerprint of a body.
pub(crate) fn fingerprint(body: &Body) -> u64 {
    let hash = match body {
        Body::Json { text, .. } => blake3::hash(text),
        Body::Text(text) => blake3::hash(text.as_bytes()),
        Body::Binary { bytes, .. } => blake3::hash(bytes),
        Body::Empty => blake3::hash(b""),
    };
    leading_number(hash.as_bytes())
}

/// Returns the latest answer after one with this fingerprint.
pub(crate) fn after(latest: Option<LatestAnswer>, hash: u64) -> LatestAnswer {
    let times = latest.filter(|latest| latest.hash == hash).map_or(0, |latest| latest.times);
    LatestAnswer { hash, times: times + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_answers_are_counted_until_another_one_comes() {
        let [first, other] = ["a", "b"].map(|text| fingerprint(&Body::Text(text.to_owned())));
        let once = after(None, first);
        let twice = after(Some(once), first);
        assert_eq!((once.times, twice.times), (1, 2));
        assert_eq!(after(Some(twice), other), LatestAnswer { hash: other, times: 1 });
    }
}

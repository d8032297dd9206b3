//! "Did you mean …?": finds the known name that a misspelled one most likely means.

/// Names longer than this many bytes get no suggestion: they are no slip of the finger, and
/// comparing costs the product of both lengths.
const MAX_NAME_BYTES: usize = 128;
/// Minimum length in bytes from which the beginning of a name counts as that name.
const MIN_PREFIX_BYTES: usize = 4;

/// Returns the candidate that `name` most likely misspells or abbreviates, ignoring case.
///
/// Use it for names that we define or store: fields, settings, keys. It tolerates one edit, and
/// another one per four bytes of the candidate. Of equally close candidates the first one wins.
#[must_use]
pub fn closest<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the candidate that is most similar to `name`, ignoring case, if at least half of the
/// longer one agrees.
///
/// Use it for names that other people's systems define, such as the members of a response, where
/// a loose match is still a useful hint. Of equally similar candidates the last one wins.
#[must_use]
pub fn most_similar<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate)
        })
        .filter(|(similarity, _)| *similarity >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Returns the number of edits between two lower-case names. An abbreviation counts as one edit,
/// so that `status` suggests `status_code`.
fn distance(wanted: &str, candidate: &str) -> usize {
    let edits = strsim::damerau_levenshtein(wanted, candidate);
    if wanted.len() >= MIN_PREFIX_BYTES && candidate.starts_with(wanted) { edits.min(1) } else { edits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_name_within_the_tolerance_is_suggested() {
        for (name, candidates, expected) in [
            ("salesfroce", &["hubspot", "salesforce"][..], Some("salesforce")),
            ("zendesk", &["hubspot", "salesforce"], None),
            ("status", &["state", "status_code"], Some("status_code")),
            ("METOD", &["body", "method"], Some("method")),
            ("orchid_redis_uri", &["ORCHID_REDIS_URL"], Some("ORCHID_REDIS_URL")),
            ("ab", &[], None),
        ] {
            assert_eq!(closest(name, candidates.iter().copied()), expected, "{name}");
        }
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        assert_eq!(closest(&long, [long.as_str()]), None);
    }

    #[test]
    fn most_similar_name_needs_half_of_the_letters() {
        for (name, candidates, expected) in [
            ("nextCursor", &["total", "next_cursor"][..], Some("next_cursor")),
            ("cursor", &["next_cursor"], Some("next_cursor")),
            ("zzz", &["items"], None),
        ] {
            assert_eq!(most_similar(name, candidates.iter().copied()), expected, "{name}");
        }
    }
}

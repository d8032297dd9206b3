//! "Did you mean …?": finds the known name that a misspelled one most likely means.
//!
//! A suggestion is a courtesy, and both names may come from strangers. So its cost is bounded
//! whatever they write: long names are never compared, and only the first candidates are.

/// Names longer than this many bytes get no suggestion and are never suggested: they are no slip of
/// the finger, and comparing costs the product of both lengths.
const MAX_NAME_BYTES: usize = 128;
/// Number of candidates that are compared. A person who mistypes one of more names is better served
/// by a list.
const MAX_CANDIDATES: usize = 1000;
/// Minimum length in bytes from which the beginning of a name counts as that name.
const MIN_PREFIX_BYTES: usize = 4;

/// Returns the candidate that `name` most likely misspells or abbreviates, ignoring case.
///
/// Use it for names that we define or store: fields, settings, keys. It tolerates one edit, and
/// another one per four bytes of the candidate. Of equally close candidates the first one wins.
#[must_use]
pub fn closest<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = Comparable::new(name)?;
    comparable(candidates)
        .filter_map(|candidate| {
            let tolerance = 1 + candidate.name.len() / 4;
            let distance = distance(&wanted, &candidate, tolerance)?;
            Some((distance, candidate.name))
        })
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
    let wanted = Comparable::new(name)?;
    comparable(candidates)
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&wanted.lower, &candidate.lower), candidate))
        .filter(|(similarity, _)| *similarity >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.name)
}

/// A name that is short enough to be compared.
struct Comparable<'n> {
    name: &'n str,
    lower: String,
    chars: usize,
}

impl<'n> Comparable<'n> {
    fn new(name: &'n str) -> Option<Self> {
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        let lower = name.to_lowercase();
        let chars = lower.chars().count();
        Some(Self { name, lower, chars })
    }
}

fn comparable<'n>(candidates: impl IntoIterator<Item = &'n str>) -> impl Iterator<Item = Comparable<'n>> {
    candidates.into_iter().take(MAX_CANDIDATES).filter_map(Comparable::new)
}

/// Returns the number of edits between two names; none if it is above the tolerance. An
/// abbreviation counts as one edit, so that `status` suggests `status_code`.
fn distance(wanted: &Comparable<'_>, candidate: &Comparable<'_>, tolerance: usize) -> Option<usize> {
    let is_prefix = wanted.lower.len() >= MIN_PREFIX_BYTES && candidate.lower.starts_with(&wanted.lower);
    // Each character more or less is an edit, so most names need no comparison at all.
    if !is_prefix && wanted.chars.abs_diff(candidate.chars) > tolerance {
        return None;
    }
    let edits = strsim::damerau_levenshtein(&wanted.lower, &candidate.lower);
    let edits = if is_prefix { edits.min(1) } else { edits };
    (edits <= tolerance).then_some(edits)
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
    fn names_of_any_length_and_number_cost_little() {
        // A comparison of two such names would take minutes.
        let (one, other) = ("x".repeat(1_000_000), "y".repeat(1_000_000));
        assert_eq!(closest(&one, [other.as_str()]), None);
        assert_eq!(closest("name", [other.as_str(), "nam"]), Some("nam"));
        assert_eq!(most_similar(&one, [other.as_str()]), None);
        assert_eq!(most_similar("name", [other.as_str(), "nam"]), Some("nam"));
        let many = vec!["nane"; MAX_CANDIDATES];
        assert_eq!(closest("name", many.iter().copied().chain(["name"])), Some("nane"));
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

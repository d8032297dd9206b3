//! "Did you mean".

/// The known name that is nearest to one that is unknown, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        assert_eq!(nearest("salesfroce", ["hubspot", "salesforce"]), Some("salesforce"));
        assert_eq!(nearest("zendesk", ["hubspot", "salesforce"]), None);
        assert_eq!(nearest("ab", []), None);
    }
}

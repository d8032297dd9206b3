//! Update masks: the fields that an update changes.

use orchid_common::suggest::closest;

use crate::commands::{CommandError, Diagnostic};

/// The fields to change.
#[derive(Debug, Clone)]
pub struct UpdateMask(Vec<String>);

impl UpdateMask {
    /// Parses the paths of a mask. An empty mask means `set`, the fields that were sent with a
    /// value.
    ///
    /// # Errors
    /// Fails if a path is not one of `can_change`.
    pub fn parse(paths: Vec<String>, can_change: &[&str], set: &[&str]) -> Result<Self, CommandError> {
        if paths.is_empty() {
            return Ok(Self(set.iter().map(|&field| field.to_owned()).collect()));
        }
        let diagnostics: Vec<Diagnostic> = paths
            .iter()
            .enumerate()
            .filter(|(_, path)| !can_change.contains(&path.as_str()))
            .map(|(index, path)| {
                let message =
                    format!("{path:?} is not a field that can be changed: {}", can_change.join(", "));
                Diagnostic::new("INVALID_VALUE", format!("/update_mask/paths/{index}"), message)
                    .suggest(closest(path, can_change.iter().copied()))
            })
            .collect();
        if diagnostics.is_empty() {
            Ok(Self(paths))
        } else {
            Err(CommandError::invalid_document("INVALID_UPDATE_MASK", "the update mask", diagnostics))
        }
    }

    /// Returns whether the mask contains a field.
    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|path| path == field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_path_is_refused_with_a_suggestion() {
        let error = UpdateMask::parse(vec!["nane".to_owned()], &["name", "enabled"], &[]).unwrap_err();
        let CommandError::Invalid { diagnostics, .. } = error else { panic!("{error}") };
        assert_eq!(diagnostics[0].pointer, "/update_mask/paths/0");
        assert_eq!(diagnostics[0].suggestion.as_deref(), Some("name"));
    }

    #[test]
    fn empty_mask_means_fields_that_were_set() {
        let mask = UpdateMask::parse(vec![], &["name", "enabled"], &["name"]).unwrap();
        assert!(mask.has("name") && !mask.has("enabled"));
    }
}

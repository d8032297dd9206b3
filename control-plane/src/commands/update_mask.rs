//! Update masks: which fields of what was sent are meant.

use crate::commands::{CommandError, Diagnostic};
use orchid_common::suggest::closest;

/// Which fields to change.
#[derive(Debug, Clone)]
pub struct UpdateMask(Vec<String>);

impl UpdateMask {
    /// The paths of a mask, each of which must be one of the fields that can change. An empty mask stands for `set`, the fields
    /// that were sent with a value.
    pub fn parse(paths: Vec<String>, can_change: &[&str], set: &[&str]) -> Result<Self, CommandError> {
        if paths.is_empty() {
            return Ok(Self(set.iter().map(|&field| field.to_owned()).collect()));
        }
        let diagnostics: Vec<Diagnostic> = paths
            .iter()
            .enumerate()
            .filter(|(_, path)| !can_change.contains(&path.as_str()))
            .map(|(index, path)| {
                let message = format!("{path:?} is none of {}", can_change.join(", "));
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

    /// Whether a field is to change.
    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|path| path == field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_cannot_change_is_named_with_the_nearest_that_can() {
        let error = UpdateMask::parse(vec!["nane".to_owned()], &["name", "enabled"], &[]).unwrap_err();
        let CommandError::Invalid { diagnostics, .. } = error else { panic!("{error}") };
        assert_eq!(diagnostics[0].pointer, "/update_mask/paths/0");
        assert_eq!(diagnostics[0].suggestion.as_deref(), Some("name"));
    }

    #[test]
    fn an_empty_mask_means_what_was_set() {
        let mask = UpdateMask::parse(vec![], &["name", "enabled"], &["name"]).unwrap();
        assert!(mask.has("name") && !mask.has("enabled"));
    }
}

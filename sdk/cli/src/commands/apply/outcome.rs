//! The effect of applying one document.

/// The effect on one document; with a dry run, the effect that it would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApplyOutcome {
    /// The document was created.
    Created,
    /// Some fields were updated.
    Changed {
        /// The names of the fields.
        fields: Vec<&'static str>,
        /// The lines in which definition or schema differ.
        diff: String,
    },
    /// The document was already up to date.
    Unchanged,
}

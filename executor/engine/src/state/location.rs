//! The location of a page or row in the tree of steps, as messages and errors name it.

/// A page of a step, or a row of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepLocation {
    /// Index of the step in the program.
    pub(crate) node: usize,
    /// Path with numbers: `issues#2[17].comments#0`.
    pub(crate) path: String,
    /// Number of the page, from 0.
    pub(crate) page: u64,
    /// Number of retries of this page so far.
    pub(crate) retries: u32,
}

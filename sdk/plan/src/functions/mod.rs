//! The function library.

/// One function of the library, for documentation.
#[derive(Clone, Copy, Debug)]
pub struct FunctionDoc {
    /// Its name.
    pub name: &'static str,
    /// Its arguments and result.
    pub signature: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// An expression that uses it.
    pub example: &'static str,
    /// What the example evaluates to, as JSON.
    pub expected: &'static str,
}

/// All functions, in the order of the documentation.
#[must_use]
pub fn function_docs() -> &'static [FunctionDoc] {
    &[]
}

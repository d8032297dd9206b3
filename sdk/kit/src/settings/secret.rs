//! A value that must not be printed.

/// A secret text. It has neither `Debug` nor `Display`, so a type that holds one cannot be logged
/// by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value itself. State the reason at each call.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

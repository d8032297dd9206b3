//! A value that must not be shown.

/// Text without `Debug` and `Display`: what holds one cannot be logged by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; name the reason where you call this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

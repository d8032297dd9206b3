//! What is wrong with a process's settings.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The setting's key, or the variable's name where no setting has it.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// All that is wrong, in the order in which the settings are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSettings(pub Vec<InvalidSetting>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {} in the settings", if count == 1 { "fault" } else { "faults" })?;
        for fault in &self.0 {
            write!(f, "\n  {}: {}", fault.key, fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidSettings {}

//! Problems of a process's settings.

use std::fmt;

/// One missing, malformed or unknown setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    /// Key of the setting, or the name of a variable that no setting has.
    pub key: String,
    /// Description of the problem, and what to write instead.
    pub message: String,
}

/// All problems, in the order in which the settings are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSettings(pub Vec<InvalidSetting>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} invalid {}", if count == 1 { "setting" } else { "settings" })?;
        for setting in &self.0 {
            write!(f, "\n  {}: {}", setting.key, setting.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidSettings {}

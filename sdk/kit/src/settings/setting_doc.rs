//! The description of one setting.

use super::raw_values::variable_name;

/// The description of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDoc {
    /// Dotted key in the file.
    pub key: String,
    /// Default value as a file would contain it; `None` if there is no default.
    pub default: Option<String>,
    /// True if the process does not start without the setting.
    pub required: bool,
    /// Description of the setting, with its unit.
    pub doc: &'static str,
}

impl SettingDoc {
    /// Returns the name of the variable that sets it.
    pub fn variable(&self) -> String {
        variable_name(&self.key)
    }
}

//! The settings of a process as a list: for its `--help`, for the docs, and for the test that compares the two.

use super::{SettingsReader, SettingsSources};

/// One setting, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDoc {
    /// Its key in the file, with dots.
    pub key: String,
    /// Its default as it would be written; `None` where it has none.
    pub default: Option<String>,
    /// Whether the process refuses to start without it.
    pub required: bool,
    /// What it does, with its unit.
    pub doc: &'static str,
}

impl SettingDoc {
    /// The variable that sets it.
    pub fn variable(&self) -> String {
        super::sources::variable(&self.key)
    }
}

/// All settings that `read` asks for, in its order.
pub fn describe_settings<T>(read: impl FnOnce(&mut SettingsReader) -> T) -> Vec<SettingDoc> {
    let mut reader = SettingsReader::new(SettingsSources::default());
    read(&mut reader);
    reader.into_settings()
}

/// The list as text for people: one line each, aligned.
pub fn render_help(settings: &[SettingDoc]) -> String {
    let key_width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or_default();
    let line = |setting: &SettingDoc| {
        let value = match (&setting.default, setting.required) {
            (_, true) => " (required)".to_owned(),
            (Some(default), false) => format!(" (default: {default})"),
            (None, false) => String::new(),
        };
        format!("  {:key_width$}  {}{value}\n", setting.key, setting.doc)
    };
    let lines: String = settings.iter().map(line).collect();
    format!(
        "Settings, in the file or as a variable (postgres.app_url is ORCHID_POSTGRES_APP_URL; the variable wins):\n{lines}"
    )
}

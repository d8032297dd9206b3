//! The list of a process's settings, for its `--help` and for the test that compares it with the
//! docs.

use super::raw_values::RawValues;
use super::reader::SettingsReader;
use super::setting_doc::SettingDoc;

/// Returns all settings that `read` asks for, in its order.
pub fn describe_settings<T>(read: impl FnOnce(&mut SettingsReader) -> T) -> Vec<SettingDoc> {
    let mut reader = SettingsReader::new(RawValues::default());
    read(&mut reader);
    reader.into_docs()
}

/// Renders settings as aligned help text, one line for each.
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
        "Settings. Each can be set in the file or by a variable, which overrides the file: \
         postgres.app_url is ORCHID_POSTGRES_APP_URL.\n{lines}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_key_doc_and_default() {
        let settings = describe_settings(|reader| {
            reader.required_text("redis.url", "url of Redis");
            reader.milliseconds("drain_ms", 30_000, "maximum duration of a drain");
        });
        assert_eq!(settings[0].variable(), "ORCHID_REDIS_URL");
        let text = render_help(&settings);
        assert!(text.ends_with(
            "  redis.url  url of Redis (required)\n  drain_ms   maximum duration of a drain (default: 30000)\n"
        ));
    }
}

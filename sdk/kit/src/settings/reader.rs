//! Asks for settings one by one, and remembers everything that is wrong on the way.

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use orchid_common::suggest::closest;

use super::{
    InvalidSetting, InvalidSettings, Secret, SettingDoc, SettingsSources,
    sources::{Raw, variable},
};

/// Hands out values. Each call names the key, the default and the doc; a getter that finds a fault notes it and answers a stand-in, which
/// nobody sees because the whole reading then fails.
pub struct SettingsReader {
    sources: SettingsSources,
    settings: Vec<SettingDoc>,
    faults: Vec<InvalidSetting>,
}

impl SettingsReader {
    pub(super) fn new(sources: SettingsSources) -> Self {
        Self { sources, settings: Vec::new(), faults: Vec::new() }
    }

    /// Text with a default.
    pub fn text(&mut self, key: &str, default: &str, doc: &'static str) -> String {
        self.describe(key, Some(default.to_owned()), false, doc);
        self.single(key).unwrap_or_else(|| default.to_owned())
    }

    /// Text that may be absent.
    pub fn optional_text(&mut self, key: &str, doc: &'static str) -> Option<String> {
        self.describe(key, None, false, doc);
        self.single(key)
    }

    /// Text that must be there.
    pub fn required_text(&mut self, key: &str, doc: &'static str) -> String {
        self.describe(key, None, true, doc);
        let value = self.single(key);
        self.present(key, value).unwrap_or_default()
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, key: &str, doc: &'static str) -> Option<Secret> {
        self.optional_text(key, doc).map(Secret::new)
    }

    /// A secret that must be there.
    pub fn required_secret(&mut self, key: &str, doc: &'static str) -> Secret {
        Secret::new(self.required_text(key, doc))
    }

    /// Anything that parses from text: numbers, addresses, urls. A value that does not parse is quoted in the fault: not for secrets.
    pub fn parsed<T>(&mut self, key: &str, default: T, doc: &'static str) -> T
    where
        T: FromStr + Display,
        T::Err: Display,
    {
        self.describe(key, Some(default.to_string()), false, doc);
        self.parse(key).unwrap_or(default)
    }

    /// As [`SettingsReader::parsed`], for what may be absent.
    pub fn optional_parsed<T>(&mut self, key: &str, doc: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.describe(key, None, false, doc);
        self.parse(key)
    }

    /// A number within bounds, both included.
    pub fn number(&mut self, key: &str, default: u64, range: RangeInclusive<u64>, doc: &'static str) -> u64 {
        let value = self.parsed(key, default, doc);
        if !range.contains(&value) {
            self.invalid(key, format!("{value} is not within {} and {}", range.start(), range.end()));
        }
        value
    }

    /// A duration, written in milliseconds (so the key ends in `_ms`).
    pub fn milliseconds(&mut self, key: &str, default: u64, doc: &'static str) -> Duration {
        Duration::from_millis(self.parsed(key, default, doc))
    }

    /// A duration, written in seconds (so the key ends in `_seconds`).
    pub fn seconds(&mut self, key: &str, default: u64, doc: &'static str) -> Duration {
        Duration::from_secs(self.parsed(key, default, doc))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str, default: bool, doc: &'static str) -> bool {
        self.parsed(key, default, doc)
    }

    /// One of a few words. The default is the first.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], doc: &'static str) -> Option<T> {
        let default = choices.first().map(|(word, _)| (*word).to_owned());
        self.describe(key, default, false, doc);
        match self.single(key) {
            Some(word) => self.chosen(key, &word, choices),
            None => choices.first().map(|(_, value)| *value),
        }
    }

    /// One of a few words, which must be there. `None` only beside a fault.
    pub fn required_choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
        doc: &'static str,
    ) -> Option<T> {
        let word = self.required_text(key, doc);
        if word.is_empty() { None } else { self.chosen(key, &word, choices) }
    }

    /// A list: an array in the file, separated by commas in the environment.
    pub fn list(&mut self, key: &str, default: &[&str], doc: &'static str) -> Vec<String> {
        self.describe(key, Some(default.join(",")), false, doc);
        self.many(key).unwrap_or_else(|| default.iter().map(|&element| element.to_owned()).collect())
    }

    /// A list with one element at least.
    pub fn required_list(&mut self, key: &str, doc: &'static str) -> Vec<String> {
        self.describe(key, None, true, doc);
        let value = self.many(key).filter(|elements| !elements.is_empty());
        self.present(key, value).unwrap_or_default()
    }

    /// A list of `name=secret`, one at least, no name twice.
    pub fn required_secrets_by_name(&mut self, key: &str, doc: &'static str) -> Vec<(String, Secret)> {
        let mut names = BTreeSet::new();
        let mut pairs = Vec::new();
        for element in self.required_list(key, doc) {
            match element.split_once('=').map(|(name, secret)| (name.trim(), secret.trim())) {
                Some((name, secret)) if !name.is_empty() && !secret.is_empty() => {
                    if !names.insert(name.to_owned()) {
                        self.invalid(key, format!("`{name}` stands there twice"));
                    }
                    pairs.push((name.to_owned(), Secret::new(secret)));
                }
                _ => self.invalid(key, "every element must be name=secret"),
            }
        }
        pairs
    }

    /// Notes a fault that the caller found, in one value or between several.
    pub fn invalid(&mut self, key: &str, message: impl Into<String>) {
        self.faults.push(InvalidSetting { key: key.to_owned(), message: message.into() });
    }

    pub(super) fn into_settings(self) -> Vec<SettingDoc> {
        self.settings
    }

    /// All is well, or everything that is not.
    pub(super) fn finish(mut self) -> Result<(), InvalidSettings> {
        let keys: BTreeSet<String> = self.settings.iter().map(|setting| setting.key.clone()).collect();
        for key in self.sources.file.keys().filter(|key| !keys.contains(*key)) {
            self.faults.push(unknown(key, keys.iter().map(String::as_str)));
        }
        let variables: BTreeSet<String> = keys.iter().map(|key| variable(key)).collect();
        for name in self.sources.environment.keys().filter(|name| !variables.contains(*name)) {
            self.faults.push(unknown(name, variables.iter().map(String::as_str)));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(InvalidSettings(self.faults)) }
    }

    fn describe(&mut self, key: &str, default: Option<String>, required: bool, doc: &'static str) {
        self.settings.push(SettingDoc { key: key.to_owned(), default, required, doc });
    }

    fn raw(&self, key: &str) -> Option<Raw> {
        let variable = self.sources.environment.get(&variable(key));
        variable.map(|text| Raw::Text(text.clone())).or_else(|| self.sources.file.get(key).cloned())
    }

    fn single(&mut self, key: &str) -> Option<String> {
        match self.raw(key)? {
            Raw::Text(text) => Some(text),
            Raw::List(_) => {
                self.invalid(key, "is a list, and must be one value");
                None
            }
        }
    }

    fn many(&self, key: &str) -> Option<Vec<String>> {
        Some(match self.raw(key)? {
            Raw::List(elements) => elements,
            Raw::Text(text) => {
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
        })
    }

    fn parse<T>(&mut self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.single(key)?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.invalid(key, format!("`{text}`: {error}"));
                None
            }
        }
    }

    fn present<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.faults.iter().any(|fault| fault.key == key) {
            self.invalid(key, format!("is required: set it in the file, or {}", variable(key)));
        }
        value
    }

    fn chosen<T: Copy>(&mut self, key: &str, word: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(candidate, _)| *candidate == word);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(candidate, _)| *candidate).collect();
            self.invalid(key, format!("`{word}` is none of {}", words.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> InvalidSetting {
    let hint = closest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    InvalidSetting { key: name.to_owned(), message: format!("there is no such setting{hint}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(
        toml: &str,
        environment: &[(&str, &str)],
        read: impl FnOnce(&mut SettingsReader),
    ) -> Vec<String> {
        let sources = SettingsSources::from_text(toml, environment.iter().copied()).unwrap();
        match sources.read(read) {
            Ok(()) => Vec::new(),
            Err(InvalidSettings(faults)) => {
                faults.into_iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
            }
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let toml = "slot = 3\n[postgres]\napp_url = ['a', 'b']\n[log]\nformat = 'xml'";
        let environment = [("ORCHID_SLOTS", "many"), ("ORCHID_REDIS_URI", "redis://x"), ("PATH", "/bin")];
        let found = faults(toml, &environment, |reader| {
            reader.required_text("postgres.app_url", "");
            reader.required_secret("redis.url", "");
            reader.parsed("slots", 64_u32, "");
            reader.choice("log.format", &[("text", 1), ("json", 2)], "");
            reader.number("lease.ttl_ms", 5, 10..=20, "");
        });
        assert_eq!(
            found,
            [
                "postgres.app_url: is a list, and must be one value",
                "redis.url: is required: set it in the file, or ORCHID_REDIS_URL",
                "slots: `many`: invalid digit found in string",
                "log.format: `xml` is none of text, json",
                "lease.ttl_ms: 5 is not within 10 and 20",
                "slot: there is no such setting; did you mean slots?",
                "ORCHID_REDIS_URI: there is no such setting; did you mean ORCHID_REDIS_URL?",
            ]
        );
    }

    #[test]
    fn a_secret_list_names_no_secret_in_its_fault() {
        let environment = [("ORCHID_FLEET_POOL_TOKENS", "default=first,default=second,third")];
        let found = faults("", &environment, |reader| {
            reader.required_secrets_by_name("fleet.pool_tokens", "");
        });
        assert_eq!(
            found,
            [
                "fleet.pool_tokens: `default` stands there twice",
                "fleet.pool_tokens: every element must be name=secret"
            ]
        );
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let toml = "listen = 'a'\nurls = ['x']\nslots = 4\nquiet = true";
        let sources =
            SettingsSources::from_text(toml, [("ORCHID_LISTEN", "b"), ("ORCHID_URLS", "y, z,")]).unwrap();
        let read = sources
            .read(|reader| {
                let urls = reader.required_list("urls", "");
                (
                    reader.text("listen", "c", ""),
                    urls,
                    reader.parsed("slots", 1, ""),
                    reader.flag("quiet", false, ""),
                )
            })
            .unwrap();
        assert_eq!(read, ("b".to_owned(), vec!["y".to_owned(), "z".to_owned()], 4, true));
    }

    #[test]
    fn what_kubernetes_and_the_tests_put_there_is_no_fault() {
        let environment = [
            ("ORCHID_SERVICE_HOST", "10.0.0.1"),
            ("ORCHID_PORT", "tcp://10.0.0.1:7400"),
            ("ORCHID_PORT_7400_TCP_ADDR", "10.0.0.1"),
            ("ORCHID_TEST_POSTGRES_URL", "postgres://"),
        ];
        assert_eq!(faults("", &environment, |_| ()), Vec::<String>::new());
    }

    #[test]
    fn the_list_says_key_default_and_doc() {
        let settings = super::super::describe_settings(|reader| {
            reader.required_text("redis.url", "where Redis is");
            reader.milliseconds("drain_ms", 30_000, "how long a drain may take");
        });
        assert_eq!(settings[0].variable(), "ORCHID_REDIS_URL");
        let text = super::super::render_help(&settings);
        assert!(text.ends_with(
            "  redis.url  where Redis is (required)\n  drain_ms   how long a drain may take (default: 30000)\n"
        ));
    }
}

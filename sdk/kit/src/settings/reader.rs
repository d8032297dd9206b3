//! Reads settings one by one, and collects every problem on the way.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use orchid_common::suggest::closest;

use super::invalid::{InvalidSetting, InvalidSettings};
use super::raw_values::{RawValue, RawValues, variable_name};
use super::secret::Secret;
use super::setting_doc::SettingDoc;

/// Reads settings by key. Each call names the key, the default and the doc.
///
/// A getter that finds a problem records it and returns a placeholder. The caller never uses the
/// placeholder, because the whole read fails in the end.
pub struct SettingsReader {
    values: RawValues,
    docs: Vec<SettingDoc>,
    problems: Vec<InvalidSetting>,
}

impl SettingsReader {
    pub(super) fn new(values: RawValues) -> Self {
        Self { values, docs: Vec::new(), problems: Vec::new() }
    }

    /// Reads a text with a default.
    pub fn text(&mut self, key: &str, default: &str, doc: &'static str) -> String {
        self.describe(key, Some(default.to_owned()), false, doc);
        self.get_text(key).unwrap_or_else(|| default.to_owned())
    }

    /// Reads a text that may be absent.
    pub fn optional_text(&mut self, key: &str, doc: &'static str) -> Option<String> {
        self.describe(key, None, false, doc);
        self.get_text(key)
    }

    /// Reads a required text.
    pub fn required_text(&mut self, key: &str, doc: &'static str) -> String {
        self.describe(key, None, true, doc);
        let value = self.get_text(key);
        self.require(key, value).unwrap_or_default()
    }

    /// Reads a secret that may be absent.
    pub fn optional_secret(&mut self, key: &str, doc: &'static str) -> Option<Secret> {
        self.optional_text(key, doc).map(Secret::new)
    }

    /// Reads a required secret.
    pub fn required_secret(&mut self, key: &str, doc: &'static str) -> Secret {
        Secret::new(self.required_text(key, doc))
    }

    /// Parses a number, address, url or the like. Do not use it for secrets: the error quotes a
    /// value that does not parse.
    pub fn parsed<T>(&mut self, key: &str, default: T, doc: &'static str) -> T
    where
        T: FromStr + Display,
        T::Err: Display,
    {
        self.describe(key, Some(default.to_string()), false, doc);
        self.parse(key).unwrap_or(default)
    }

    /// Parses a value as [`SettingsReader::parsed`] does, if it is present.
    pub fn optional_parsed<T>(&mut self, key: &str, doc: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.describe(key, None, false, doc);
        self.parse(key)
    }

    /// Reads a number within an inclusive range.
    pub fn number(&mut self, key: &str, default: u64, range: RangeInclusive<u64>, doc: &'static str) -> u64 {
        let value = self.parsed(key, default, doc);
        if !range.contains(&value) {
            self.invalid(key, format!("{value} is not between {} and {}", range.start(), range.end()));
        }
        value
    }

    /// Reads a duration in milliseconds. The key ends in `_ms`.
    pub fn milliseconds(&mut self, key: &str, default: u64, doc: &'static str) -> Duration {
        Duration::from_millis(self.parsed(key, default, doc))
    }

    /// Reads a duration in seconds. The key ends in `_seconds`.
    pub fn seconds(&mut self, key: &str, default: u64, doc: &'static str) -> Duration {
        Duration::from_secs(self.parsed(key, default, doc))
    }

    /// Reads `true` or `false`.
    pub fn flag(&mut self, key: &str, default: bool, doc: &'static str) -> bool {
        self.parsed(key, default, doc)
    }

    /// Reads one of several words. The first one is the default.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], doc: &'static str) -> Option<T> {
        let default = choices.first().map(|(word, _)| (*word).to_owned());
        self.describe(key, default, false, doc);
        match self.get_text(key) {
            Some(word) => self.choose(key, &word, choices),
            None => choices.first().map(|(_, value)| *value),
        }
    }

    /// Reads one of several words, which is required. Returns `None` only after recording a
    /// problem.
    pub fn required_choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
        doc: &'static str,
    ) -> Option<T> {
        let word = self.required_text(key, doc);
        if word.is_empty() { None } else { self.choose(key, &word, choices) }
    }

    /// Reads a list: an array in the file, or separated by commas in the environment.
    pub fn list(&mut self, key: &str, default: &[&str], doc: &'static str) -> Vec<String> {
        self.describe(key, Some(default.join(",")), false, doc);
        self.get_list(key).unwrap_or_else(|| default.iter().map(|&element| element.to_owned()).collect())
    }

    /// Reads a list of at least one element.
    pub fn required_list(&mut self, key: &str, doc: &'static str) -> Vec<String> {
        self.describe(key, None, true, doc);
        let value = self.get_list(key).filter(|elements| !elements.is_empty());
        self.require(key, value).unwrap_or_default()
    }

    /// Reads a list of at least one `name=secret` with unique names.
    pub fn required_secrets_by_name(&mut self, key: &str, doc: &'static str) -> Vec<(String, Secret)> {
        let elements = self.required_list(key, doc);
        self.secrets_by_name(key, elements)
    }

    /// Reads a list of `name=secret` with unique names, which may be empty.
    pub fn optional_secrets_by_name(&mut self, key: &str, doc: &'static str) -> Vec<(String, Secret)> {
        let elements = self.list(key, &[], doc);
        self.secrets_by_name(key, elements)
    }

    fn secrets_by_name(&mut self, key: &str, elements: Vec<String>) -> Vec<(String, Secret)> {
        let mut names = BTreeSet::new();
        let mut pairs = Vec::new();
        for element in elements {
            match element.split_once('=').map(|(name, secret)| (name.trim(), secret.trim())) {
                Some((name, secret)) if !name.is_empty() && !secret.is_empty() => {
                    if !names.insert(name.to_owned()) {
                        self.invalid(key, format!("`{name}` is given twice"));
                    }
                    pairs.push((name.to_owned(), Secret::new(secret)));
                }
                _ => self.invalid(key, "every element must be name=secret"),
            }
        }
        pairs
    }

    /// Records a problem that the caller found, in one value or between several.
    pub fn invalid(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(InvalidSetting { key: key.to_owned(), message: message.into() });
    }

    pub(super) fn into_docs(self) -> Vec<SettingDoc> {
        self.docs
    }

    /// Returns every recorded problem, and every name that no setting has.
    pub(super) fn finish(mut self) -> Result<(), InvalidSettings> {
        let keys: BTreeSet<String> = self.docs.iter().map(|doc| doc.key.clone()).collect();
        for key in self.values.file.keys().filter(|key| !keys.contains(*key)) {
            self.problems.push(unknown(key, keys.iter().map(String::as_str)));
        }
        let variables: BTreeSet<String> = keys.iter().map(|key| variable_name(key)).collect();
        // A misspelt variable would otherwise be ignored silently.
        for name in self.values.environment.keys().filter(|name| !variables.contains(*name)) {
            self.problems.push(unknown(name, variables.iter().map(String::as_str)));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(InvalidSettings(self.problems)) }
    }

    fn describe(&mut self, key: &str, default: Option<String>, required: bool, doc: &'static str) {
        self.docs.push(SettingDoc { key: key.to_owned(), default, required, doc });
    }

    fn get_text(&mut self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            RawValue::Text(text) => Some(text),
            RawValue::List(_) => {
                self.invalid(key, "must be a single value, not a list");
                None
            }
        }
    }

    fn get_list(&self, key: &str) -> Option<Vec<String>> {
        Some(match self.values.get(key)? {
            RawValue::List(elements) => elements,
            RawValue::Text(text) => {
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
        })
    }

    fn parse<T>(&mut self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.get_text(key)?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.invalid(key, format!("`{text}`: {error}"));
                None
            }
        }
    }

    fn require<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        // A value of the wrong form is already recorded and must not be reported as missing, too.
        if value.is_none() && !self.problems.iter().any(|problem| problem.key == key) {
            self.invalid(key, format!("is required: set it in the file or by {}", variable_name(key)));
        }
        value
    }

    fn choose<T: Copy>(&mut self, key: &str, word: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(candidate, _)| *candidate == word);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(candidate, _)| *candidate).collect();
            self.invalid(key, format!("`{word}` is not one of {}", words.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> InvalidSetting {
    let hint =
        closest(name, known).map(|candidate| format!("; did you mean {candidate}?")).unwrap_or_default();
    InvalidSetting { key: name.to_owned(), message: format!("there is no such setting{hint}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingsSources;

    fn problems(
        toml: &str,
        environment: &[(&str, &str)],
        read: impl FnOnce(&mut SettingsReader),
    ) -> Vec<String> {
        let sources = SettingsSources::from_text(toml, environment.iter().copied()).unwrap();
        match sources.read(read) {
            Ok(()) => Vec::new(),
            Err(InvalidSettings(problems)) => {
                problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
            }
        }
    }

    #[test]
    fn all_problems_are_returned_at_once() {
        let toml = "slot = 3\n[postgres]\napp_url = ['a', 'b']\n[log]\nformat = 'xml'";
        let environment = [("ORCHID_SLOTS", "many"), ("ORCHID_REDIS_URI", "redis://x"), ("PATH", "/bin")];
        let found = problems(toml, &environment, |reader| {
            reader.required_text("postgres.app_url", "");
            reader.required_secret("redis.url", "");
            reader.parsed("slots", 64_u32, "");
            reader.choice("log.format", &[("text", 1), ("json", 2)], "");
            reader.number("lease.ttl_ms", 5, 10..=20, "");
        });
        assert_eq!(
            found,
            [
                "postgres.app_url: must be a single value, not a list",
                "redis.url: is required: set it in the file or by ORCHID_REDIS_URL",
                "slots: `many`: invalid digit found in string",
                "log.format: `xml` is not one of text, json",
                "lease.ttl_ms: 5 is not between 10 and 20",
                "slot: there is no such setting; did you mean slots?",
                "ORCHID_REDIS_URI: there is no such setting; did you mean ORCHID_REDIS_URL?",
            ]
        );
    }

    #[test]
    fn problem_of_a_secret_list_names_no_secret() {
        let environment = [("ORCHID_FLEET_POOL_TOKENS", "default=first,default=second,third")];
        let found = problems("", &environment, |reader| {
            reader.required_secrets_by_name("fleet.pool_tokens", "");
        });
        assert_eq!(
            found,
            [
                "fleet.pool_tokens: `default` is given twice",
                "fleet.pool_tokens: every element must be name=secret"
            ]
        );
    }

    #[test]
    fn environment_overrides_the_file() {
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
    fn variables_of_kubernetes_and_tests_are_ignored() {
        let environment = [
            ("ORCHID_SERVICE_HOST", "10.0.0.1"),
            ("ORCHID_PORT", "tcp://10.0.0.1:7400"),
            ("ORCHID_PORT_7400_TCP_ADDR", "10.0.0.1"),
            ("ORCHID_TEST_POSTGRES_URL", "postgres://"),
        ];
        assert_eq!(problems("", &environment, |_| ()), Vec::<String>::new());
    }
}

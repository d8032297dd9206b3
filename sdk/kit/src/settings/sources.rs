//! Where settings come from: a TOML file, flattened to dotted keys, and the `ORCHID_*` variables.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{InvalidSettings, SettingsReader};

const PREFIX: &str = "ORCHID_";

/// The settings could not be read, or are wrong.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not there, or may not be read.
    #[error("cannot read the settings file {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("the settings file is not valid TOML: {0}")]
    Toml(#[from] toml::de::Error),
    /// The values are wrong.
    #[error(transparent)]
    InvalidSettings(#[from] InvalidSettings),
}

/// One value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A scalar, as text.
    Text(String),
    /// An array of scalars, as texts.
    List(Vec<String>),
}

/// What was written, before anybody has asked for it.
#[derive(Default)]
pub struct SettingsSources {
    pub(super) file: BTreeMap<String, Raw>,
    pub(super) environment: BTreeMap<String, String>,
}

impl SettingsSources {
    /// The file, where one is named, and this process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points at")]
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let text = match file {
            Some(path) => fs::read_to_string(path)
                .map_err(|source| SettingsError::File { path: path.to_owned(), source })?,
            None => String::new(),
        };
        Self::from_text(&text, std::env::vars())
    }

    /// A file's text and variables that the caller has.
    pub fn from_text<K, V>(
        toml_text: &str,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SettingsError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut file = BTreeMap::new();
        for (key, value) in toml_text.parse::<toml::Table>()? {
            flatten(key, value, &mut file);
        }
        let environment = environment
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, value)| is_meant_for_us(name, value))
            .collect();
        Ok(Self { file, environment })
    }

    /// Lets `read` ask for all it needs, and gives its answer, or every fault at once.
    pub fn read<T>(self, read: impl FnOnce(&mut SettingsReader) -> T) -> Result<T, InvalidSettings> {
        let mut reader = SettingsReader::new(self);
        let settings = read(&mut reader);
        reader.finish()?;
        Ok(settings)
    }
}

/// The variable that sets a key: `postgres.app_url` is `ORCHID_POSTGRES_APP_URL`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Kubernetes puts `ORCHID_…_SERVICE_HOST` and `ORCHID_…_PORT=tcp://…` beside a service called orchid, and `ORCHID_TEST_…` are the tests' own:
/// none of them is a setting that somebody misspelt.
fn is_meant_for_us(name: &str, value: &str) -> bool {
    let of_kubernetes = name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.contains("_PORT") && (value.starts_with("tcp://") || name.contains("_TCP")));
    name.starts_with(PREFIX) && !name.starts_with("ORCHID_TEST_") && !of_kubernetes
}

fn flatten(key: String, value: toml::Value, out: &mut BTreeMap<String, Raw>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, out);
            }
        }
        toml::Value::Array(elements) => {
            out.insert(key, Raw::List(elements.into_iter().map(scalar).collect()));
        }
        value => {
            out.insert(key, Raw::Text(scalar(value)));
        }
    }
}

fn scalar(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

//! The sources of settings: a file and the environment.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::invalid::InvalidSettings;
use super::raw_values::RawValues;
use super::reader::SettingsReader;

/// Settings that could not be read, or that are invalid.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file does not exist or cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: io::Error,
    },
    /// The file is not valid TOML.
    #[error("the settings file is not valid TOML: {0}")]
    Toml(#[from] toml::de::Error),
    /// Settings are missing, malformed or unknown.
    #[error(transparent)]
    Invalid(#[from] InvalidSettings),
}

/// The file and the variables that settings are read from.
pub struct SettingsSources(RawValues);

impl SettingsSources {
    /// Loads the file, if one is named, and the environment of this process.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not valid TOML.
    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points at")]
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let text = match file {
            Some(path) => fs::read_to_string(path)
                .map_err(|source| SettingsError::File { path: path.to_owned(), source })?,
            None => String::new(),
        };
        Self::from_text(&text, std::env::vars())
    }

    /// Takes the text of a file and variables from the caller.
    ///
    /// # Errors
    /// Fails if the text is not valid TOML.
    pub fn from_text<K, V>(
        toml_text: &str,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SettingsError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        Ok(Self(RawValues::parse(toml_text, environment)?))
    }

    /// Lets `read` ask for every setting, and returns its result.
    ///
    /// # Errors
    /// Fails with every problem at once if a setting is missing, malformed or unknown.
    pub fn read<T>(self, read: impl FnOnce(&mut SettingsReader) -> T) -> Result<T, InvalidSettings> {
        let mut reader = SettingsReader::new(self.0);
        let settings = read(&mut reader);
        reader.finish()?;
        Ok(settings)
    }
}

//! Setting values as they are written: a TOML file flattened to dotted keys, and `ORCHID_*`
//! variables.

use std::collections::BTreeMap;

const PREFIX: &str = "ORCHID_";

/// One value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RawValue {
    /// A scalar, as text.
    Text(String),
    /// An array of scalars, as texts.
    List(Vec<String>),
}

/// All values that are written, whether or not a setting reads them.
#[derive(Default)]
pub(super) struct RawValues {
    pub(super) file: BTreeMap<String, RawValue>,
    pub(super) environment: BTreeMap<String, String>,
}

impl RawValues {
    /// Parses the text of a file and keeps the variables that are settings of Orchid.
    pub(super) fn parse<K, V>(
        toml_text: &str,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, toml::de::Error>
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
            .filter(|(name, value)| is_setting(name, value))
            .collect();
        Ok(Self { file, environment })
    }

    /// Returns the value of a key. The environment overrides the file.
    pub(super) fn get(&self, key: &str) -> Option<RawValue> {
        let variable = self.environment.get(&variable_name(key));
        variable.map(|text| RawValue::Text(text.clone())).or_else(|| self.file.get(key).cloned())
    }
}

/// Returns the variable that sets a key: `ORCHID_POSTGRES_APP_URL` for `postgres.app_url`.
pub(super) fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Returns true unless the variable is foreign. Kubernetes sets `ORCHID_…_SERVICE_HOST` and
/// `ORCHID_…_PORT=tcp://…` for a service that is called orchid, and tests set `ORCHID_TEST_…`.
/// These must not be reported as misspelt settings.
fn is_setting(name: &str, value: &str) -> bool {
    let set_by_kubernetes = name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.contains("_PORT") && (value.starts_with("tcp://") || name.contains("_TCP")));
    name.starts_with(PREFIX) && !name.starts_with("ORCHID_TEST_") && !set_by_kubernetes
}

fn flatten(key: String, value: toml::Value, out: &mut BTreeMap<String, RawValue>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, out);
            }
        }
        toml::Value::Array(elements) => {
            out.insert(key, RawValue::List(elements.into_iter().map(scalar_text).collect()));
        }
        value => {
            out.insert(key, RawValue::Text(scalar_text(value)));
        }
    }
}

fn scalar_text(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

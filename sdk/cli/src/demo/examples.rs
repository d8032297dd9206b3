//! What the demo polls: the orders example of the documentation, or one url of the user's own.

use std::collections::BTreeMap;

use orchid_sdk::json::to_struct;
use orchid_sdk::v1::{Config, Integration, Plan};
use serde_json::json;

use crate::{
    dev::upstream::ORDER_COUNT,
    exit::UsageError,
    files::document::{Document, DocumentError, Source, parse},
};

const FILES: [(&str, &str); 3] = [
    ("integration.json", include_str!("../../../../docs/examples/orders/integration.json")),
    ("config.json", include_str!("../../../../docs/examples/orders/config.json")),
    ("plan.json", include_str!("../../../../docs/examples/orders/plan.json")),
];

/// What to poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Example {
    /// The demo upstream's orders.
    Orders,
    /// This url, once.
    Url(String),
}

impl Example {
    /// The orders, unless a url is named.
    pub(super) fn choose(api: Option<&str>) -> Result<Self, UsageError> {
        match api {
            None => Ok(Self::Orders),
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Self::Url(url.to_owned()))
            }
            Some(other) => Err(UsageError(format!("`{other}` is no http or https url"))),
        }
    }

    /// Whether rows are orders.
    pub(super) fn is_orders(&self) -> bool {
        *self == Self::Orders
    }

    /// The plan's key.
    pub(super) fn plan_key(&self) -> &'static str {
        match self {
            Self::Orders => "orders-sync",
            Self::Url(_) => "your-api",
        }
    }

    /// The config's key.
    pub(super) fn config_key(&self) -> &'static str {
        match self {
            Self::Orders => "demo",
            Self::Url(_) => "yours",
        }
    }

    /// How many rows must come; `None` where that is not known.
    pub(super) fn expected_rows(&self) -> Option<i64> {
        match self {
            Self::Orders => i64::try_from(ORDER_COUNT).ok(),
            Self::Url(_) => None,
        }
    }

    /// What to apply.
    pub(super) fn documents(
        &self,
        variables: &BTreeMap<String, String>,
    ) -> Result<Vec<Document>, DocumentError> {
        match self {
            Self::Orders => FILES
                .iter()
                .map(|(file, text)| {
                    let source = Source { file: (*file).to_owned(), text: (*text).to_owned() };
                    parse(&source, |name| variables.get(name).cloned())
                })
                .collect(),
            Self::Url(url) => Ok(documents_for(url, self.plan_key(), self.config_key())),
        }
    }
}

fn documents_for(url: &str, plan_key: &str, config_key: &str) -> Vec<Document> {
    let integration = "your-api";
    let definition = json!({ "step": { "id": "answer", "url": "{{ config.url }}" } });
    vec![
        Document::Integration {
            integration: Integration {
                key: integration.to_owned(),
                display_name: "Your API".to_owned(),
                ..Integration::default()
            },
            config_schema: None,
        },
        Document::Config(Config {
            integration: integration.to_owned(),
            key: config_key.to_owned(),
            values: to_struct(&json!({ "url": url })).ok(),
            ..Config::default()
        }),
        Document::Plan(Plan {
            key: plan_key.to_owned(),
            integration: integration.to_owned(),
            name: "One request".to_owned(),
            definition: to_struct(&definition).ok(),
            ..Plan::default()
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_refused() {
        let error = Example::choose(Some("api.example.com")).unwrap_err();
        assert_eq!(error.to_string(), "`api.example.com` is no http or https url");
    }

    #[test]
    fn the_files_of_the_documentation_can_be_applied() {
        let variables =
            ["UPSTREAM_URL", "UPSTREAM_API_KEY"].map(|name| (name.to_owned(), "value-of-it".to_owned()));
        let documents = Example::Orders.documents(&variables.into()).unwrap();
        let Document::Plan(plan) = &documents[2] else { panic!("the third file is no plan") };
        assert_eq!(plan.key, Example::Orders.plan_key());
    }

    #[test]
    fn the_plan_for_a_url_is_valid() {
        let example = Example::choose(Some("https://example.com/x")).unwrap();
        let documents = example.documents(&BTreeMap::new()).unwrap();
        let Document::Plan(plan) = &documents[2] else { panic!("the third document is no plan") };
        let definition = orchid_sdk::json::from_struct(plan.definition.as_ref().unwrap()).unwrap();
        orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap();
    }
}

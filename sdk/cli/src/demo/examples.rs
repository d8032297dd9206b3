//! What the demo polls unless a url is named: the orders example of the documentation.

use std::collections::BTreeMap;

use crate::files::document::{Document, DocumentError, Source, parse};

const FILES: [(&str, &str); 3] = [
    ("integration.json", include_str!("../../../../docs/examples/orders/integration.json")),
    ("config.json", include_str!("../../../../docs/examples/orders/config.json")),
    ("plan.json", include_str!("../../../../docs/examples/orders/plan.json")),
];

/// The plan's key.
pub(super) const PLAN: &str = "orders-sync";
/// The config's key.
pub(super) const CONFIG: &str = "demo";

/// What to apply.
pub(super) fn documents(variables: &BTreeMap<String, String>) -> Result<Vec<Document>, DocumentError> {
    FILES
        .iter()
        .map(|(file, text)| {
            let source = Source { file: (*file).to_owned(), text: (*text).to_owned() };
            parse(&source, |name| variables.get(name).cloned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_documentation_can_be_applied() {
        let variables =
            ["UPSTREAM_URL", "UPSTREAM_API_KEY"].map(|name| (name.to_owned(), "value-of-it".to_owned()));
        let documents = documents(&variables.into()).unwrap();
        let Document::Plan(plan) = &documents[2] else { panic!("the third file is no plan") };
        assert_eq!(plan.key, PLAN);
    }
}

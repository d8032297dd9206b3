//! The files that the demo applies by default: the orders example of the documentation.

use std::collections::BTreeMap;

use crate::files::document::{Document, DocumentError, Source, parse};

const FILES: [(&str, &str); 3] = [
    ("integration.json", include_str!("../../../../docs/examples/orders/integration.json")),
    ("config.json", include_str!("../../../../docs/examples/orders/config.json")),
    ("plan.json", include_str!("../../../../docs/examples/orders/plan.json")),
];

/// The key of the plan.
pub(super) const PLAN: &str = "orders-sync";
/// The key of the config.
pub(super) const CONFIG: &str = "demo";

/// Parses the example files, with `variables` for their `${NAME}` references.
///
/// # Errors
/// When a file is invalid or a variable is missing.
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
    fn example_files_parse_as_documents() {
        let variables =
            ["UPSTREAM_URL", "UPSTREAM_API_KEY"].map(|name| (name.to_owned(), "value-of-it".to_owned()));
        let documents = documents(&variables.into()).unwrap();
        let Document::Plan(plan) = &documents[2] else { panic!("the third file is no plan") };
        assert_eq!(plan.key, PLAN);
    }
}

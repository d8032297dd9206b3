//! Runs every plan of `docs/examples` several times against a server that behaves as the API
//! documents.
//!
//! `apis` holds the servers, one per file: they issue opaque page tokens and accept no others,
//! require what the API requires, and state the expected outcome of each execution. `end_to_end`
//! runs the plans on a complete Orchid over HTTP. `engine_only` runs the same plans against the
//! same servers on the engine alone with a simulated clock, and kills executions between any two
//! inputs.

mod api;
mod apis;
mod end_to_end;
mod engine_only;
mod files;
mod outcome;
mod server_parts;

use api::Example;

/// All examples except `orders`, which `make demo` runs.
const EXAMPLES: [Example; 16] = [
    apis::github::EXAMPLE,
    apis::stripe::EXAMPLE,
    apis::okta::EXAMPLE,
    apis::graph::EXAMPLE,
    apis::salesforce::EXAMPLE,
    apis::shopify::EXAMPLE,
    apis::hubspot::EXAMPLE,
    apis::jira::EXAMPLE,
    apis::zendesk::EXAMPLE,
    apis::slack::EXAMPLE,
    apis::amazon::EXAMPLE,
    apis::xero::EXAMPLE,
    apis::mixpanel::EXAMPLE,
    apis::earthquakes::EXAMPLE,
    apis::soap::EXAMPLE,
    apis::buildkite::EXAMPLE,
];

#[test]
fn every_example_except_orders_has_a_server() {
    let mut served: Vec<&str> = EXAMPLES.iter().map(|example| example.folder).chain(["orders"]).collect();
    served.sort_unstable();
    assert_eq!(files::folders(), served);
}

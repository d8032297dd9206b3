//! Every plan of `docs/examples`, run after run, against a server that behaves as the API's documentation says.
//!
//! `apis` holds those servers, one a file: they hand out opaque page tokens and take no others, want what the API wants, and
//! say of each run what has to come out of it. `whole` runs the plans through a whole Orchid over HTTP. `alone` runs the same
//! plans against the same servers by the engine alone, on a clock that jumps, and kills them wherever one can be killed.

mod api;
mod apis;
mod end_to_end;
mod engine_only;
mod files;
mod outcome;
mod server_parts;

use api::Example;

/// All of them but `orders`, which `make demo` runs.
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

//! The example servers, one file each.

pub(super) mod amazon;
pub(super) mod buildkite;
pub(super) mod earthquakes;
pub(super) mod github;
pub(super) mod graph;
pub(super) mod hubspot;
pub(super) mod jira;
pub(super) mod mixpanel;
pub(super) mod okta;
pub(super) mod salesforce;
pub(super) mod shopify;
pub(super) mod slack;
pub(super) mod soap;
pub(super) mod stripe;
pub(super) mod xero;
pub(super) mod zendesk;

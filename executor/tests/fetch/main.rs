//! One try on a real socket: bodies are bounded and unpacked, failures have their kind, redirects and addresses are guarded,
//! cookies stay in their run, and requests leave as the config says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds nothing ends there"
)]

mod basics;
mod cookies;
mod encodings;
mod pieces;
mod proxies;
mod secure;
mod tls;
mod upstream;
mod zips;

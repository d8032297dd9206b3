//! One HTTP try over a real socket: bodies are bounded and decoded, errors are classified,
//! redirects and addresses are guarded, cookies stay within their attempt, and requests use the
//! config's transport.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation ends the test"
)]

mod basics;
mod certificates;
mod content_encodings;
mod cookies;
mod memory;
mod proxies;
mod streaming;
mod tls_server;
mod upstream;
mod zip_archives;

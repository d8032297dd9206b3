//! What the integration tests stand on: real servers, the real binaries as child processes, an upstream that does as it is
//! told, and a reader of what came out at the other end.
//!
//! One Postgres, one Redis and one broker of each kind serve a whole run of the tests; each test has a database, a Redis prefix and
//! topics of its own. Whatever goes wrong here panics: it is a test that failed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and then says why"
)]

pub mod client;
pub mod database;
pub mod eventually;
pub mod json_server;
pub mod kafka;
pub mod names;
pub mod slow_proxy;
pub mod stack;
pub mod tools;
pub mod upstream;

pub use client::{ScriptedExecutor, Tenant};
pub use database::TestDatabase;
pub use eventually::eventually;
pub use json_server::JsonServer;
pub use kafka::{BrokerKind, Kafka, Message, MessageReader, TestTopics};
pub use slow_proxy::SlowProxy;
pub use stack::{StackOptions, TestStack};
pub use upstream::{FakeUpstream, ReceivedRequest, UpstreamReply};

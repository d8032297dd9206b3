//! The test kit: real servers, the real binaries as child processes, a scripted upstream, and a
//! reader of the messages in Kafka.
//!
//! All tests of a run share one Postgres, one Redis and one broker of each kind; each test has its
//! own database, Redis prefix and topics. Every failure here panics, which fails the test.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and then says why"
)]

pub mod client;
pub mod database;
pub mod environment;
pub mod eventually;
pub mod json_server;
pub mod kafka;
pub mod names;
pub mod seed;
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

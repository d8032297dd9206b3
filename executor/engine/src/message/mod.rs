//! Complete Kafka messages: topic, key, headers and payload bytes. A sink only sends them.
//!
//! The input is what a page produced, as the received bytes where they came from an upstream, and
//! the identity of the execution. The output is messages with their ids and positions: none larger
//! than the broker accepts, with the secrets of requests redacted. Nothing here parses or prints a
//! response body, unless an expression computed it.

pub(crate) mod body;
pub(crate) mod chunk;
mod credential_names;
pub(crate) mod envelope;
mod event;
pub(crate) mod excerpt;
pub(crate) mod exchange;
pub(crate) mod file_part;
pub(crate) mod id;
pub(crate) mod json;
pub(crate) mod kafka;
pub(crate) mod limits;
pub(crate) mod origin;
pub(crate) mod redact;
mod row_list;
mod secret_forms;
mod url_credentials;

pub use self::event::started;
pub(crate) use self::json::truncate_text;
pub use self::kafka::{Message, Topic};
pub(crate) use self::origin::MessageOrigin;

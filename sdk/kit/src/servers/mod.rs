//! Private Postgres and Redis servers, for `orchid dev` and for tests.
//!
//! In go a folder and options; out comes a server on a free loopback port, with its own password
//! and a url to connect to. A server stops when its value is stopped or dropped, and when this
//! process dies. It never touches servers or clusters that are installed on the machine: it only
//! runs the installed programs.

mod account;
mod error;
mod host;
mod postgres;
mod process;
mod redis;

pub use account::UserAccount;
pub use error::ServerError;
pub use host::{free_port, orchid_variables};
pub use postgres::{PostgresOptions, PostgresServer};
pub use process::{ChildCommand, ChildProcess, ProcessSignal};
pub use redis::RedisServer;

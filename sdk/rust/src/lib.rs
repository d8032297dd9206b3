//! Rust client of Orchid's control plane.
//!
//! A [`Client`] holds one connection and provides the typed service clients. Every call carries the
//! caller's identity and a deadline, and is compressed with gzip. A failed call becomes an
//! [`Error`] with all details of the server's status: the reason, the invalid fields or JSON
//! pointers, and the time after which to retry.
//!
//! ```no_run
//! # async fn example() -> Result<(), orchid_sdk::Error> {
//! use orchid_sdk::{Client, Credentials, v1::TriggerPlanRequest};
//!
//! let tenant = "01890a5d-ac96-774b-bcce-b302099a8057".parse().ok();
//! let client = Client::connect("127.0.0.1:7400", Credentials::Development { tenant }).await?;
//! let request = TriggerPlanRequest { key: "orders-sync".into(), ..Default::default() };
//! let execution = client.plans().trigger_plan(request).await?.into_inner();
//! println!("{}", execution.id);
//! # Ok(())
//! # }
//! ```

mod client;
mod credentials;
mod error;

pub use client::{Client, InterceptedChannel};
pub use credentials::{Credentials, RequestInterceptor};
pub use error::{Error, FieldViolation, StatusError};
pub use orchid_proto::{UnknownEnumValue, admin, json, v1};

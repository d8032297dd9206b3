//! A process's settings: read once, from a TOML file and the environment, checked whole.
//!
//! What comes in is a file (optional) and the variables that begin with `ORCHID_`; the environment wins. What goes out is the caller's own
//! struct, filled through a [`Reader`], or every fault at once: missing and malformed values, and names that no setting has. A value marked
//! secret is never printed.
//!
//! ```
//! # use orchid_kit::settings::{Reader, Sources};
//! struct Settings {
//!     listen: String,
//!     slots: usize,
//! }
//!
//! fn read(reader: &mut Reader) -> Settings {
//!     Settings {
//!         listen: reader.text("listen", "127.0.0.1:7400", "address of the gRPC port"),
//!         slots: reader.parsed("slots", 64, "runs at once"),
//!     }
//! }
//!
//! let sources = Sources::given("slots = 8", [("ORCHID_LISTEN", "127.0.0.1:0")]).unwrap();
//! let settings = sources.read(read).unwrap();
//! assert_eq!((settings.listen.as_str(), settings.slots), ("127.0.0.1:0", 8));
//! ```

mod fault;
mod list;
mod reader;
mod secret;
mod sources;

pub use fault::{Fault, Faults};
pub use list::{Setting, list, print};
pub use reader::Reader;
pub use secret::Secret;
pub use sources::{SettingsError, Sources};

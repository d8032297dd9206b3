//! A process's settings: read once, from a TOML file and the environment, checked whole.
//!
//! What comes in is a file (optional) and the variables that begin with `ORCHID_`; the environment wins. What goes out is the caller's own
//! struct, filled through a [`SettingsReader`], or every fault at once: missing and malformed values, and names that no setting has. A value marked
//! secret is never printed.
//!
//! ```
//! # use orchid_kit::settings::{SettingsReader, SettingsSources};
//! struct Settings {
//!     listen: String,
//!     slots: usize,
//! }
//!
//! fn read(reader: &mut SettingsReader) -> Settings {
//!     Settings {
//!         listen: reader.text("listen", "127.0.0.1:7400", "address of the gRPC port"),
//!         slots: reader.parsed("slots", 64, "runs at once"),
//!     }
//! }
//!
//! let sources = SettingsSources::from_text("slots = 8", [("ORCHID_LISTEN", "127.0.0.1:0")]).unwrap();
//! let settings = sources.read(read).unwrap();
//! assert_eq!((settings.listen.as_str(), settings.slots), ("127.0.0.1:0", 8));
//! ```

mod help;
mod invalid;
mod reader;
mod secret;
mod sources;

pub use help::{SettingDoc, describe_settings, render_help};
pub use invalid::{InvalidSetting, InvalidSettings};
pub use reader::SettingsReader;
pub use secret::Secret;
pub use sources::{SettingsError, SettingsSources};

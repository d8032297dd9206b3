//! Settings of a process: read once from a TOML file and the environment, and validated as a whole.
//!
//! In go an optional file and the variables that begin with `ORCHID_`; a variable overrides the
//! file. Out comes the caller's own struct, filled through a [`SettingsReader`], or every problem
//! at once: missing values, malformed values, and names that no setting has. Secret values are
//! never printed.
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
//!         slots: reader.parsed("slots", 64, "maximum number of concurrent executions"),
//!     }
//! }
//!
//! let sources = SettingsSources::from_text("slots = 8", [("ORCHID_LISTEN", "127.0.0.1:0")]).unwrap();
//! let settings = sources.read(read).unwrap();
//! assert_eq!((settings.listen.as_str(), settings.slots), ("127.0.0.1:0", 8));
//! ```

mod help;
mod invalid;
mod raw_values;
mod reader;
mod secret;
mod setting_doc;
mod sources;

pub use help::{describe_settings, render_help};
pub use invalid::{InvalidSetting, InvalidSettings};
pub use reader::SettingsReader;
pub use secret::Secret;
pub use setting_doc::SettingDoc;
pub use sources::{SettingsError, SettingsSources};

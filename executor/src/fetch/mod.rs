//! HTTP requests: one try, from a rendered request to its response.
//!
//! A [`Fetcher`] creates one [`FetchAgent`] per attempt. The agent follows redirects, decodes
//! content encodings, and returns the response whole or as a stream, or a classified error. Cookies
//! last for one attempt. The agent retries nothing, ignores proxy variables of the environment, and
//! connects to no address that the [`AddressGuard`] refuses.

mod address;
mod agent;
mod body;
mod certificate_error;
mod client_error;
mod clients;
mod cookie_jar;
mod decode;
mod fetcher;
mod pinned_certificates;
mod redirect;
mod timeout_budget;
mod transport;

pub use address::guard::{AddressGuard, AddressRefused};
pub use address::range::{AddressRange, InvalidAddressRange};
pub use agent::{FetchAgent, FetchOutcome, FetchedResponse};
pub use body::{BodyReader, PIECE_BYTES};
pub use fetcher::Fetcher;
pub use transport::{ClientCertificate, Transport, TransportError};

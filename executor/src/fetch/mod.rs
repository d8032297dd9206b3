//! Fetch: one try of a request, put on the wire.
//!
//! In: a rendered request with its rules. Out: the answer after redirects and decompression, whole or piece by piece, or
//! what kind of failure it was. It keeps cookies for one run and no longer, retries nothing, uses no proxy of the
//! environment, and connects to no address that the guard refuses.

mod agent;
mod body;
mod cidr;
mod clients;
mod codings;
mod fault;
mod guard;
mod jar;
mod patience;
mod redirect;
mod resolver;
mod transport;
mod unpack;
mod unzip;

use std::sync::Arc;

pub use agent::{Agent, Answer, Fetched};
pub use body::{Body, PIECE_BYTES};
pub use cidr::{Cidr, InvalidCidr};
pub use guard::{AddressGuard, AddressRefused};
pub use transport::{ClientCertificate, Transport, TransportError};

use crate::beat::Fence;
use agent::By;
use clients::Clients;
use jar::Jar;

/// Makes user agents. Runs whose requests leave the same way share connections.
pub struct Fetcher {
    clients: Clients,
    guard: Arc<AddressGuard>,
    fence: Arc<Fence>,
}

impl Fetcher {
    /// Without connections yet. The process must have installed rustls' crypto provider.
    pub fn new(guard: AddressGuard, fence: Arc<Fence>) -> Result<Fetcher, TransportError> {
        let guard = Arc::new(guard);
        Ok(Fetcher { clients: Clients::new(Arc::clone(&guard))?, guard, fence })
    }

    /// The user agent of one run, without cookies yet.
    pub fn agent(&self, transport: &Transport) -> Result<Agent, TransportError> {
        let by = match transport.proxy {
            Some(_) => By::Proxy(transport.proxy_address()),
            None => By::Ourselves,
        };
        Ok(Agent {
            client: self.clients.get(transport)?,
            guard: Arc::clone(&self.guard),
            fence: Arc::clone(&self.fence),
            jar: Arc::new(Jar::default()),
            by,
        })
    }
}

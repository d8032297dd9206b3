//! Creates the HTTP agents of attempts.

use std::sync::Arc;

use crate::fetch::address::guard::AddressGuard;
use crate::fetch::agent::{FetchAgent, UpstreamRoute};
use crate::fetch::clients::ClientCache;
use crate::fetch::transport::{Transport, TransportError};
use crate::lease::SelfFence;
use crate::memory::MemoryBudget;

/// Creates HTTP agents. Attempts with equal transports share connections.
pub struct Fetcher {
    clients: ClientCache,
    guard: Arc<AddressGuard>,
    fence: Arc<SelfFence>,
    memory: MemoryBudget,
}

impl Fetcher {
    /// Creates a fetcher without connections, whose bodies are charged to `memory`. The process
    /// must have installed rustls' crypto provider.
    ///
    /// # Errors
    ///
    /// Fails when the default HTTP client cannot be built.
    pub fn new(
        guard: AddressGuard,
        fence: Arc<SelfFence>,
        memory: MemoryBudget,
    ) -> Result<Self, TransportError> {
        let guard = Arc::new(guard);
        Ok(Self { clients: ClientCache::new(Arc::clone(&guard))?, guard, fence, memory })
    }

    /// Creates the agent of one attempt, without cookies and with an account of its own.
    ///
    /// # Errors
    ///
    /// Fails when a part of the transport is invalid.
    pub fn agent(&self, transport: &Transport) -> Result<FetchAgent, TransportError> {
        let route = match transport.proxy {
            Some(_) => UpstreamRoute::Proxy(transport.proxy_address()),
            None => UpstreamRoute::Direct,
        };
        let client = self.clients.get(transport)?;
        let memory = self.memory.account();
        Ok(FetchAgent::new(client, Arc::clone(&self.guard), Arc::clone(&self.fence), memory, route))
    }
}

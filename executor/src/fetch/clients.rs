//! HTTP clients, one per transport.
//!
//! Each transport has a client with connections of its own, so that no connection is used under
//! another config's identity. Clients are created on first use and shared by all attempts with an
//! equal transport. The cache is bounded; the connections of an evicted client close when its last
//! attempt has ended. No client reads proxy settings from the environment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Identity, Proxy};

use crate::fetch::address::guard::AddressGuard;
use crate::fetch::address::resolver::GuardedResolver;
use crate::fetch::pinned_certificates::tls_config;
use crate::fetch::transport::{Transport, TransportError};
use crate::lru_cache::LruCache;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the idle time after which common servers and load balancers close a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that waits to be read shares its HTTP/2 connection with requests of other attempts. Its
/// unread bytes must not exhaust the connection's window and block them. A single stream holds at
/// most 2 MiB.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Transports beside the default one.
const CAPACITY: usize = 256;

/// The HTTP clients of a process.
pub(super) struct ClientCache {
    guard: Arc<AddressGuard>,
    default_client: Client,
    /// Clients of transports that are not the default one.
    others: Mutex<LruCache<Transport, Client>>,
}

impl ClientCache {
    /// Creates a cache with the default client. The process must have installed rustls' crypto
    /// provider.
    pub(super) fn new(guard: Arc<AddressGuard>) -> Result<Self, TransportError> {
        let default_client = build(&Transport::default(), &guard)?;
        Ok(Self { guard, default_client, others: Mutex::new(LruCache::new(CAPACITY)) })
    }

    /// Returns the client of a transport, and creates it if there is none.
    pub(super) fn get(&self, transport: &Transport) -> Result<Client, TransportError> {
        if *transport == Transport::default() {
            return Ok(self.default_client.clone());
        }
        if let Some(client) = self.lock().get(transport) {
            return Ok(client);
        }
        // Built outside the lock. Two attempts may build the same client; the later one stays.
        let client = build(transport, &self.guard)?;
        self.lock().insert(transport.clone(), client.clone());
        Ok(client)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Transport, Client>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(transport: &Transport, guard: &Arc<AddressGuard>) -> Result<Client, TransportError> {
    let mut builder = Client::builder()
        .user_agent(concat!("orchid/", env!("CARGO_PKG_VERSION")))
        // The agent follows redirects itself, to check each hop.
        .redirect(Policy::none())
        // The engine decides on retries and counts them.
        .retry(reqwest::retry::never())
        .no_proxy()
        // A Referer header would send the query, and secrets in it, to the next host.
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .dns_resolver(Arc::new(GuardedResolver::new(Arc::clone(guard))));
    let Transport { proxy, ca, client_certificate } = transport;
    if let Some(proxy) = proxy {
        builder = with_proxy(builder, proxy)?;
    }
    if let Some(ca) = ca {
        builder = builder.tls_backend_preconfigured(tls_config(ca, client_certificate.as_ref())?);
    } else if let Some(own) = client_certificate {
        let pem = format!("{}\n{}", own.certificate, own.key);
        let identity = Identity::from_pem(pem.as_bytes()).map_err(|_| TransportError::ClientCertificate)?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| TransportError::Client(error.without_url()))
}

fn with_proxy(builder: ClientBuilder, proxy: &str) -> Result<ClientBuilder, TransportError> {
    // reqwest silently ignores a proxy URL that it cannot use, and connects directly.
    let uri: http::Uri = proxy.parse().map_err(|_| TransportError::Proxy)?;
    if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https" | "socks5" | "socks5h"))
    {
        return Err(TransportError::Proxy);
    }
    Ok(builder.proxy(Proxy::all(proxy).map_err(|_| TransportError::Proxy)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> ClientCache {
        let _ = rustls::crypto::ring::default_provider().install_default();
        ClientCache::new(Arc::new(AddressGuard::default())).unwrap()
    }

    fn with_proxy(proxy: &str) -> Transport {
        Transport { proxy: Some(proxy.to_owned()), ..Transport::default() }
    }

    #[tokio::test]
    async fn invalid_transport_is_refused_without_showing_it() {
        for proxy in ["", "proxy.test:8080", "ftp://proxy.test", "http://", "http://u:hush@[", "/hush"] {
            let error = clients().get(&with_proxy(proxy)).unwrap_err();
            assert!(matches!(error, TransportError::Proxy), "{proxy:?}");
            assert!(!error.to_string().contains("hush"));
        }
        let ca = Transport { ca: Some("no pem".to_owned()), ..Transport::default() };
        assert!(matches!(clients().get(&ca).unwrap_err(), TransportError::Ca));
    }

    #[tokio::test]
    async fn client_cache_is_bounded_and_keeps_clients_in_use() {
        let clients = clients();
        let first = with_proxy("http://proxy.test:1");
        for port in 1..=CAPACITY + 10 {
            // Inserted directly, because building hundreds of clients is slow.
            let client = clients.default_client.clone();
            clients.lock().insert(with_proxy(&format!("http://proxy.test:{port}")), client);
            assert!(clients.lock().get(&first).is_some());
        }
        assert_eq!(clients.lock().iter().count(), CAPACITY);
        assert!(clients.lock().get(&with_proxy("http://proxy.test:2")).is_none());
    }
}

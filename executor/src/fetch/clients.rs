//! HTTP clients, one per transport: each has connections of its own, so that none is used for another config's identity.
//!
//! In: a transport. Out: its client, made once and shared by all runs that leave the same way. Bounded; what was not used
//! for longest goes first, and its connections with it once its last run ended. No client looks at the environment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy};

use crate::fetch::guard::AddressGuard;
use crate::fetch::resolver::GuardedResolver;
use crate::fetch::transport::{Transport, TransportError};
use crate::lru_cache::LruCache;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the idle time after which common servers and balancers close a connection.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// Bodies that wait to be read share a connection of HTTP/2 with requests of other runs: what the former leave in it must
/// not keep the latter from going on. (A stream alone holds at most 2 MiB.)
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Transports beside the default one.
const CAPACITY: usize = 256;

pub(super) struct Clients {
    guard: Arc<AddressGuard>,
    plain: Client,
    others: Mutex<LruCache<Transport, Client>>,
}

impl Clients {
    /// The process must have installed rustls' crypto provider.
    pub(super) fn new(guard: Arc<AddressGuard>) -> Result<Clients, TransportError> {
        let plain = build(&Transport::default(), &guard)?;
        Ok(Clients { guard, plain, others: Mutex::new(LruCache::new(CAPACITY)) })
    }

    pub(super) fn get(&self, transport: &Transport) -> Result<Client, TransportError> {
        if *transport == Transport::default() {
            return Ok(self.plain.clone());
        }
        if let Some(client) = self.lock().get(transport) {
            return Ok(client);
        }
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
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .dns_resolver(Arc::new(GuardedResolver::new(Arc::clone(guard))));
    let Transport { proxy, ca, client_certificate } = transport;
    if let Some(proxy) = proxy {
        builder = by_proxy(builder, proxy)?;
    }
    if let Some(ca) = ca {
        let certificates = Certificate::from_pem_bundle(ca.as_bytes()).map_err(|_| TransportError::Ca)?;
        if certificates.is_empty() {
            return Err(TransportError::Ca);
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(own) = client_certificate {
        let pem = format!("{}\n{}", own.certificate, own.key);
        let identity = Identity::from_pem(pem.as_bytes()).map_err(|_| TransportError::ClientCertificate)?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| TransportError::Client(error.without_url()))
}

fn by_proxy(builder: ClientBuilder, proxy: &str) -> Result<ClientBuilder, TransportError> {
    // What the client could not read it would pass over, and connect directly.
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

    fn clients() -> Clients {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Clients::new(Arc::new(AddressGuard::default())).unwrap()
    }

    fn by(proxy: &str) -> Transport {
        Transport { proxy: Some(proxy.to_owned()), ..Transport::default() }
    }

    #[tokio::test]
    async fn a_transport_that_is_none_is_refused_without_showing_it() {
        for proxy in ["", "proxy.test:8080", "ftp://proxy.test", "http://", "http://u:hush@[", "/hush"] {
            let error = clients().get(&by(proxy)).unwrap_err();
            assert!(matches!(error, TransportError::Proxy), "{proxy:?}");
            assert!(!error.to_string().contains("hush"));
        }
        let ca = Transport { ca: Some("no pem".to_owned()), ..Transport::default() };
        assert!(matches!(clients().get(&ca).unwrap_err(), TransportError::Ca));
    }
}

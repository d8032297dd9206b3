//! The connector's resolver: resolves names and asks the address guard.
//!
//! Because the connector itself resolves through it, a name cannot change its address between the
//! check and the connection (DNS rebinding).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::fetch::address::guard::AddressGuard;

/// The system's resolver, behind the address guard.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver {
    guard: Arc<AddressGuard>,
}

impl GuardedResolver {
    pub(crate) fn new(guard: Arc<AddressGuard>) -> Self {
        Self { guard }
    }
}

impl Resolve for GuardedResolver {
    /// Resolves to the addresses that the guard lets through; fails if it lets none through.
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let mut allowed = Vec::with_capacity(found.len());
            let mut refused = None;
            for address in found {
                match guard.check(address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(refusal) => refused = Some(refusal),
                }
            }
            // Of a name with public and private addresses, only the public ones are connected to.
            match refused {
                Some(refusal) if allowed.is_empty() => Err(refusal.into()),
                None if allowed.is_empty() => Err(io::Error::from(io::ErrorKind::NotFound).into()),
                Some(_) | None => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::address::guard::AddressRefused;

    #[tokio::test]
    async fn name_with_refused_addresses_does_not_resolve() {
        let resolver = GuardedResolver::new(Arc::new(AddressGuard::default()));
        let error = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.downcast_ref::<AddressRefused>().is_some(), "{error}");
    }

    #[tokio::test]
    async fn name_in_an_allowed_range_resolves() {
        let allowed = vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let resolver = GuardedResolver::new(Arc::new(AddressGuard::new(allowed)));
        let found: Vec<_> = resolver.resolve("localhost".parse().unwrap()).await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()));
    }
}

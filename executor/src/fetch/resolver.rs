//! The connector's resolver: names to addresses, through the address guard.
//!
//! In: a host name that the client is about to connect to. Out: the addresses that the guard lets through, or an error
//! when it lets none through. Because the connector itself asks here, a name cannot change between check and connect.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::fetch::guard::AddressGuard;

/// The system's resolver, guarded.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver {
    guard: Arc<AddressGuard>,
}

impl GuardedResolver {
    pub(crate) fn new(guard: Arc<AddressGuard>) -> GuardedResolver {
        GuardedResolver { guard }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let mut open = Vec::with_capacity(found.len());
            let mut refused = None;
            for address in found {
                match guard.check(address.ip()) {
                    Ok(()) => open.push(address),
                    Err(refusal) => refused = Some(refusal),
                }
            }
            match refused {
                Some(refusal) if open.is_empty() => Err(refusal.into()),
                None if open.is_empty() => Err(io::Error::from(io::ErrorKind::NotFound).into()),
                Some(_) | None => Ok(Box::new(open.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::guard::AddressRefused;

    #[tokio::test]
    async fn a_name_of_a_refused_address_does_not_resolve() {
        let resolver = GuardedResolver::new(Arc::new(AddressGuard::default()));
        let error = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.downcast_ref::<AddressRefused>().is_some(), "{error}");
    }

    #[tokio::test]
    async fn an_opened_range_resolves() {
        let open = vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let resolver = GuardedResolver::new(Arc::new(AddressGuard::new(open)));
        let found: Vec<_> = resolver.resolve("localhost".parse().unwrap()).await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()));
    }
}

//! How the requests of one config leave: by which proxy, trusting whom, as whom.
//!
//! In: the texts of a grant. Out: the same, and what of them must never be shown. It opens no connection.

use std::fmt;
use std::net::IpAddr;

use url::Url;

/// A config's transport. Holds secrets: its `Debug` shows none of them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Transport {
    /// `http`, `https`, `socks5` or `socks5h` url, with user and password where the proxy asks for them; none: directly.
    pub proxy: Option<String>,
    /// Certificates in PEM that are trusted beside the system's; none: the system's alone.
    pub ca: Option<String>,
    /// What it shows where a server asks for a certificate.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// PEM: the certificate, then those that lead to its root.
    pub certificate: String,
    /// PEM: its private key.
    pub key: String,
}

/// A transport that no client can be made of. Says which part, and shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The proxy is no url of a proxy.
    #[error("the config's proxy is no url of a proxy")]
    Proxy,
    /// The certificates that are to be trusted.
    #[error("the config's ca holds no certificates in PEM")]
    Ca,
    /// The client's certificate or its key.
    #[error("the config's client certificate is none, or not of its key")]
    ClientCertificate,
    /// The client itself.
    #[error("no http client: {0}")]
    Client(reqwest::Error),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("proxy", &self.proxy.is_some())
            .field("ca", &self.ca.is_some())
            .field("client_certificate", &self.client_certificate.is_some())
            .finish()
    }
}

impl Transport {
    /// Texts that no message, log or error may show: the proxy's password (its user, where it has no password), and the
    /// client's key.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        if let Some(proxy) = self.proxy.as_deref().and_then(|proxy| Url::parse(proxy).ok()) {
            let secret = proxy.password().unwrap_or_else(|| proxy.username());
            if !secret.is_empty() {
                let plain = percent_encoding::percent_decode_str(secret).decode_utf8_lossy();
                secrets.extend([secret.to_owned(), plain.into_owned()]);
            }
        }
        secrets.extend(self.client_certificate.iter().map(|certificate| certificate.key.clone()));
        secrets
    }

    /// The address that stands in the proxy's url in place of a name: no resolver ever sees it.
    pub(super) fn proxy_address(&self) -> Option<IpAddr> {
        // Of a scheme that the parser does not know, such as socks5, a host is text.
        let proxy = Url::parse(self.proxy.as_deref()?).ok()?;
        proxy.host_str()?.trim_matches(['[', ']']).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(proxy: &str) -> Transport {
        Transport { proxy: Some(proxy.to_owned()), ..Transport::default() }
    }

    #[test]
    fn secrets_are_the_password_as_written_and_as_meant_and_the_key() {
        let mut transport = by("http://me:s%40fe@proxy.test:8080");
        assert_eq!(transport.secrets(), ["s%40fe", "s@fe"]);
        transport.client_certificate =
            Some(ClientCertificate { certificate: "shown".to_owned(), key: "hidden".to_owned() });
        assert_eq!(transport.secrets()[2], "hidden");
        assert_eq!(by("socks5://token@proxy.test").secrets()[0], "token");
        assert!(by("http://proxy.test").secrets().is_empty());
        assert!(!format!("{transport:?}").contains("hidden"));
    }

    #[test]
    fn an_address_in_the_url_is_found_under_every_scheme() {
        for (proxy, address) in [
            ("http://10.0.0.1:3128", Some("10.0.0.1")),
            ("http://0x0a.1:3128", Some("10.0.0.1")),
            ("socks5://10.0.0.1", Some("10.0.0.1")),
            ("socks5h://[::1]:1080", Some("::1")),
            ("https://proxy.test", None),
        ] {
            assert_eq!(by(proxy).proxy_address(), address.map(|text| text.parse().unwrap()), "{proxy}");
        }
    }
}

//! The transport of a config: its proxy, trusted CAs and client certificate.

use std::fmt;
use std::net::IpAddr;

use url::Url;

/// A config's transport. It holds secrets, which its `Debug` output leaves out.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Transport {
    /// URL of a proxy (`http`, `https`, `socks5` or `socks5h`), with user and password if it needs
    /// them; `None` to connect directly.
    pub proxy: Option<String>,
    /// PEM certificates to trust in addition to the system's: of issuers, and of servers
    /// themselves.
    pub ca: Option<String>,
    /// Certificate for servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
}

/// A client certificate with its key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// PEM: the certificate, then the intermediate ones up to its root.
    pub certificate: String,
    /// PEM: the private key.
    pub key: String,
}

/// A transport from which no client can be built. The messages name the invalid part without
/// showing it.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The proxy's URL is invalid.
    #[error("the config's proxy is not a valid http, https, socks5 or socks5h url")]
    Proxy,
    /// The CA bundle contains no certificate.
    #[error("the config's ca contains no valid PEM certificate")]
    Ca,
    /// The client certificate or its key is invalid.
    #[error("the config's client certificate is invalid or does not match its key")]
    ClientCertificate,
    /// The process has installed no crypto provider.
    #[error("no crypto provider is installed")]
    NoCrypto,
    /// The HTTP client cannot be built for another reason.
    #[error("the http client cannot be built: {0}")]
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
    /// Returns the texts that no message, log or error may show: the client's key, and the proxy's
    /// password, both as written and percent-decoded. Without a password, the user counts as the
    /// secret: some proxies take a token there.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        if let Some(proxy) = self.proxy.as_deref().and_then(|proxy| Url::parse(proxy).ok()) {
            let secret = proxy.password().unwrap_or_else(|| proxy.username());
            if !secret.is_empty() {
                let decoded = percent_encoding::percent_decode_str(secret).decode_utf8_lossy();
                secrets.extend([secret.to_owned(), decoded.into_owned()]);
            }
        }
        secrets.extend(self.client_certificate.iter().map(|certificate| certificate.key.clone()));
        secrets
    }

    /// Returns the address in the proxy's URL if it contains one instead of a name. Such an address
    /// never reaches the guarded resolver.
    pub(super) fn proxy_address(&self) -> Option<IpAddr> {
        // Under schemes that the URL parser does not know, such as socks5, the host is plain text.
        let proxy = Url::parse(self.proxy.as_deref()?).ok()?;
        proxy.host_str()?.trim_matches(['[', ']']).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_proxy(proxy: &str) -> Transport {
        Transport { proxy: Some(proxy.to_owned()), ..Transport::default() }
    }

    #[test]
    fn secrets_are_the_key_and_both_forms_of_the_password() {
        let mut transport = with_proxy("http://me:s%40fe@proxy.test:8080");
        assert_eq!(transport.secrets(), ["s%40fe", "s@fe"]);
        transport.client_certificate =
            Some(ClientCertificate { certificate: "shown".to_owned(), key: "hidden".to_owned() });
        assert_eq!(transport.secrets()[2], "hidden");
        assert_eq!(with_proxy("socks5://token@proxy.test").secrets()[0], "token");
        assert!(with_proxy("http://proxy.test").secrets().is_empty());
        assert!(!format!("{transport:?}").contains("hidden"));
    }

    #[test]
    fn proxy_address_is_found_under_every_scheme() {
        for (proxy, address) in [
            ("http://10.0.0.1:3128", Some("10.0.0.1")),
            ("http://0x0a.1:3128", Some("10.0.0.1")),
            ("socks5://10.0.0.1", Some("10.0.0.1")),
            ("socks5h://[::1]:1080", Some("::1")),
            ("https://proxy.test", None),
        ] {
            assert_eq!(
                with_proxy(proxy).proxy_address(),
                address.map(|text| text.parse().unwrap()),
                "{proxy}"
            );
        }
    }
}

//! Validates the network settings of a config and takes their secrets out. Opens no connection and
//! reads no file.

use std::collections::BTreeMap;

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, RootCertStore, crypto};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use url::Url;

use super::hosts;
use super::secrets::{MARKER, SecretValues};
use crate::commands::Diagnostic;

const PROXY: &str = "/proxy";
const CERTIFICATE: &str = "/client_certificate/certificate";
const KEY: &str = "/client_certificate/key";
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
const MAX_PROXY_BYTES: usize = 2048;
const MAX_PEM_BYTES: usize = 256 * 1024;

/// Network settings, with secrets or their markers. Has no `Debug`, so that secrets are never
/// logged.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportSettings {
    /// URL of a proxy, with user and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// PEM certificates of authorities to trust in addition to the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Certificate to present to servers that request one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// Reachable hosts; empty: the host of each step's own URL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
}

/// A client certificate with its private key. Has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PEM: the certificate, followed by its intermediate certificates.
    pub certificate: String,
    /// PEM: the private key.
    pub key: String,
}

/// Valid network settings, with their secrets taken out.
pub(crate) struct PreparedTransport {
    /// The settings as JSON, with a marker in place of each secret.
    pub(super) shown: Json,
    /// The secrets.
    pub(super) secrets: SecretValues,
}

/// Checks network settings. A marker in them is replaced by the stored secret of `kept`. Pointers
/// are relative to the config.
///
/// # Errors
/// Fails with all problems at once.
pub(super) fn prepare(
    written: &TransportSettings,
    kept: &SecretValues,
) -> Result<PreparedTransport, Vec<Diagnostic>> {
    let mut check = TransportCheck {
        kept,
        secrets: BTreeMap::new(),
        diagnostics: hosts::diagnostics(&written.allowed_hosts),
    };
    let shown = TransportSettings {
        proxy: written.proxy.as_deref().map(|proxy| check.proxy(proxy)),
        ca: written.ca.clone(),
        client_certificate: written.client_certificate.as_ref().map(|own| check.client_certificate(own)),
        allowed_hosts: written.allowed_hosts.clone(),
    };
    if let Some(ca) = &written.ca {
        check.ca(ca);
    }
    let TransportCheck { secrets, diagnostics, .. } = check;
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    Ok(PreparedTransport { shown: serde_json::json!(shown), secrets: SecretValues(secrets) })
}

struct TransportCheck<'a> {
    kept: &'a SecretValues,
    secrets: BTreeMap<String, Json>,
    diagnostics: Vec<Diagnostic>,
}

impl TransportCheck<'_> {
    fn report(&mut self, place: &str, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::new("INVALID_VALUE", format!("/transport{place}"), message));
    }

    fn kept(&self, place: &str) -> Option<String> {
        self.kept.0.get(place).and_then(Json::as_str).map(str::to_owned)
    }

    fn nothing_kept(&mut self, place: &str) {
        self.report(
            place,
            format!("{MARKER:?} keeps the stored value, but none is stored yet: write the value"),
        );
    }

    /// Checks the proxy and returns its URL without secrets. The whole URL is a secret if it
    /// contains a user.
    fn proxy(&mut self, written: &str) -> String {
        let whole = if user_of(written) == Some(MARKER) {
            match self.kept(PROXY) {
                Some(kept) if without_user(&kept) == written => kept,
                Some(_) => {
                    let message = format!(
                        "{MARKER:?} keeps user and password of the stored proxy, but this is another proxy: write them again"
                    );
                    self.report(PROXY, message);
                    return written.to_owned();
                }
                None => {
                    self.nothing_kept(PROXY);
                    return written.to_owned();
                }
            }
        } else {
            written.to_owned()
        };
        if let Err(why) = check_proxy(&whole) {
            // The message must not quote the URL: in a malformed one, any part may be the password.
            let message = format!("not a proxy URL such as http://proxy.example.com:3128: {why}");
            self.report(PROXY, message);
        }
        let shown = without_user(&whole);
        if user_of(&whole).is_some() {
            self.secrets.insert(PROXY.to_owned(), Json::from(whole));
        }
        shown
    }

    fn ca(&mut self, pem: &str) {
        match certificates(pem) {
            Ok(certificates) => {
                let mut roots = RootCertStore::empty();
                for (index, certificate) in certificates.into_iter().enumerate() {
                    if let Err(error) = roots.add(certificate) {
                        let message = format!("certificate {index} is not usable as an authority: {error}");
                        self.report("/ca", message);
                    }
                }
            }
            Err(why) => self.report("/ca", why),
        }
    }

    fn client_certificate(&mut self, written: &ClientCertificate) -> ClientCertificate {
        let shown = ClientCertificate { certificate: written.certificate.clone(), key: MARKER.to_owned() };
        let mut key = Some(written.key.clone());
        if written.key == MARKER {
            key = self.kept(KEY);
            if key.is_none() {
                self.nothing_kept(KEY);
            }
        }
        let chain = certificates(&written.certificate).and_then(|chain| {
            let own = chain.first().ok_or("no PEM certificate")?;
            ParsedCertificate::try_from(own).map_err(|error| format!("certificate 0 is invalid: {error}"))?;
            Ok(chain)
        });
        let chain = chain.map_err(|why| self.report(CERTIFICATE, why));
        let Some(key) = key else { return shown };
        let parsed = private_key(&key).map_err(|why| self.report(KEY, why));
        if let (Ok(chain), Ok(parsed)) = (chain, parsed)
            && let Err(error) = CertifiedKey::from_der(chain, parsed, &crypto::ring::default_provider())
        {
            let message = match error {
                TlsError::InconsistentKeys(_) => "client certificate does not match its key".to_owned(),
                error => format!("not a private key that TLS can use: {error}"),
            };
            self.report(KEY, message);
        }
        self.secrets.insert(KEY.to_owned(), Json::from(key));
        shown
    }
}

fn check_proxy(whole: &str) -> Result<(), String> {
    if whole.len() > MAX_PROXY_BYTES {
        return Err(format!("it has {} bytes; the limit is {MAX_PROXY_BYTES}", whole.len()));
    }
    let url = Url::parse(whole).map_err(|error| error.to_string())?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(format!("its scheme must be one of {}", SCHEMES.join(", ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it has no host".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "it continues after the port (special characters in user and password must be percent-encoded)"
                .to_owned(),
        );
    }
    // The executor's HTTP client parses the URL as `http::Uri`, which is stricter about
    // percent-encoding.
    let uri = whole.parse::<http::Uri>();
    uri.map(drop).map_err(|_| "a character must be percent-encoded".to_owned())
}

/// Returns the byte range of the authority of a URL. A parser would normalise the text, but it must
/// be compared with the stored proxy as written.
fn authority(url: &str) -> Option<(usize, usize)> {
    let begin = url.find("://")? + 3;
    let length = url[begin..].find(['/', '?', '#']).unwrap_or(url.len() - begin);
    Some((begin, begin + length))
}

/// Returns user and password of a URL as written.
fn user_of(url: &str) -> Option<&str> {
    let (begin, end) = authority(url)?;
    let at = url[begin..end].rfind('@')?;
    Some(&url[begin..begin + at])
}

fn without_user(url: &str) -> String {
    match (authority(url), user_of(url)) {
        (Some((begin, _)), Some(user)) => {
            format!("{}{MARKER}{}", &url[..begin], &url[begin + user.len()..])
        }
        _ => url.to_owned(),
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for (kind, der) in sections(pem)? {
        match kind {
            SectionKind::Certificate => found.push(CertificateDer::from(der)),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err("found a private key, but this field is readable: write the key to client_certificate.key".to_owned());
            }
            other => return Err(format!("found {other:?} instead of a certificate")),
        }
    }
    if found.is_empty() { Err("no PEM certificate".to_owned()) } else { Ok(found) }
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    let mut sections = sections(pem)?.into_iter();
    match (sections.next(), sections.next()) {
        (Some((kind, der)), None) => PrivateKeyDer::from_pem(kind, der)
            .ok_or_else(|| format!("found {kind:?} instead of a private key")),
        (Some(_), Some(_)) => Err("more than one PEM section; expected one private key".to_owned()),
        (None, _) => Err("no unencrypted PEM private key".to_owned()),
    }
}

fn sections(pem: &str) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(format!("the text has {} bytes; the limit is {MAX_PEM_BYTES}", pem.len()));
    }
    if pem.contains('\0') {
        return Err("the character U+0000 cannot be stored".to_owned());
    }
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "not valid PEM".to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::json;

    use super::*;

    fn kept(pairs: &[(&str, &str)]) -> SecretValues {
        SecretValues(pairs.iter().map(|(place, secret)| ((*place).to_owned(), json!(secret))).collect())
    }

    fn by(proxy: &str) -> TransportSettings {
        TransportSettings { proxy: Some(proxy.to_owned()), ..TransportSettings::default() }
    }

    fn diagnostics(written: &TransportSettings, kept: &SecretValues) -> Vec<(String, String)> {
        let diagnostics = prepare(written, kept).err().unwrap_or_default();
        diagnostics.into_iter().map(|diagnostic| (diagnostic.pointer, diagnostic.message)).collect()
    }

    /// A certificate with its key, both in PEM.
    fn identity() -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        ClientCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    #[test]
    fn invalid_proxy_is_refused_without_showing_it() {
        for (proxy, words) in [
            ("proxy.test:3128", "scheme must be one of"),
            ("ftp://me:hush@proxy.test", "scheme must be one of"),
            ("http://me:hush@", "empty host"),
            ("http://me:hu/sh@proxy.test", "port"),
            ("http://proxy.test/path", "after the port"),
            ("http://me:hu{sh@proxy.test", "percent-encoded"),
            ("socks5://", "no host"),
        ] {
            let found = diagnostics(&by(proxy), &SecretValues::default());
            assert_eq!(found.len(), 1, "{proxy}: {found:?}");
            assert_eq!(found[0].0, "/transport/proxy");
            assert!(found[0].1.contains(words), "{proxy}: {}", found[0].1);
            assert!(!found[0].1.contains("hu"), "{}", found[0].1);
        }
    }

    #[test]
    fn proxy_credentials_are_kept_for_the_same_proxy_only() {
        let prepared = prepare(&by("http://me:hush@proxy.test:3128"), &SecretValues::default()).ok().unwrap();
        assert_eq!(prepared.shown, json!({"proxy": "http://[SECRET]@proxy.test:3128"}));
        let kept = prepared.secrets;
        assert_eq!(kept.0["/proxy"], "http://me:hush@proxy.test:3128");
        let again = prepare(&by("http://[SECRET]@proxy.test:3128"), &kept).ok().unwrap();
        assert_eq!(again.secrets.0, kept.0);
        for other in [
            "http://[SECRET]@other.test:3128",
            "http://[SECRET]@proxy.test:3129",
            "https://[SECRET]@proxy.test:3128",
        ] {
            assert!(diagnostics(&by(other), &kept)[0].1.contains("this is another proxy"), "{other}");
        }
        assert!(
            diagnostics(&by("http://[SECRET]@proxy.test:3128"), &SecretValues::default())[0]
                .1
                .contains("none is stored yet")
        );
        let open = prepare(&by("socks5h://proxy.test"), &kept).ok().unwrap();
        assert!(open.secrets.0.is_empty());
    }

    #[test]
    fn certificates_and_keys_are_validated() {
        let (own, other) = (identity(), identity());
        let with = |certificate: &str, key: &str| TransportSettings {
            client_certificate: Some(ClientCertificate {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            }),
            ..TransportSettings::default()
        };
        let broken = own.certificate.replace("MII", "AII");
        let cases = [
            (with("", &own.key), "/transport/client_certificate/certificate", "no PEM certificate"),
            (
                with(&broken, &own.key),
                "/transport/client_certificate/certificate",
                "certificate 0 is invalid",
            ),
            (with(&own.key, &own.key), "/transport/client_certificate/certificate", "found a private key"),
            (
                with(&own.certificate, ""),
                "/transport/client_certificate/key",
                "no unencrypted PEM private key",
            ),
            (
                with(&own.certificate, &own.certificate),
                "/transport/client_certificate/key",
                "instead of a private key",
            ),
            (
                with(&own.certificate, &other.key),
                "/transport/client_certificate/key",
                "client certificate does not match its key",
            ),
            (with(&own.certificate, MARKER), "/transport/client_certificate/key", "none is stored yet"),
        ];
        for (written, pointer, words) in cases {
            let found = diagnostics(&written, &SecretValues::default());
            assert_eq!((found.len(), found[0].0.as_str()), (1, pointer), "{found:?}");
            assert!(found[0].1.contains(words), "{found:?}");
        }
        let kept = kept(&[(KEY, &own.key)]);
        let prepared = prepare(&with(&own.certificate, MARKER), &kept).ok().unwrap();
        assert_eq!(prepared.shown["client_certificate"]["key"], MARKER);
        assert_eq!(prepared.secrets.0[KEY], json!(own.key));
        assert_eq!(
            diagnostics(&with(&other.certificate, MARKER), &kept)[0].0,
            "/transport/client_certificate/key"
        );
    }

    #[test]
    fn authorities_are_validated() {
        let trusting = |ca: String| TransportSettings { ca: Some(ca), ..TransportSettings::default() };
        let own = identity();
        for (ca, words) in [
            ("none".to_owned(), "no PEM certificate"),
            (own.key.clone(), "found a private key"),
            (own.certificate.replace("MII", "AII"), "certificate 0 is not usable as an authority"),
            ("-----BEGIN CERTIFICATE-----\n!\n".to_owned(), "not valid PEM"),
            (own.certificate.repeat(600), "the limit is"),
        ] {
            let found = diagnostics(&trusting(ca), &SecretValues::default());
            assert_eq!(found[0].0, "/transport/ca");
            assert!(found[0].1.contains(words), "{found:?}");
        }
        let both = own.certificate + &identity().certificate;
        assert_eq!(
            prepare(&trusting(both.clone()), &SecretValues::default()).ok().unwrap().shown,
            json!({"ca": both})
        );
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let written = TransportSettings {
            proxy: Some("nothing".to_owned()),
            ca: Some(String::new()),
            client_certificate: Some(ClientCertificate { certificate: String::new(), key: String::new() }),
            allowed_hosts: vec!["https://a.test".to_owned()],
        };
        let pointers: Vec<_> = diagnostics(&written, &SecretValues::default())
            .into_iter()
            .map(|diagnostic| diagnostic.0)
            .collect();
        assert_eq!(
            pointers,
            [
                "/transport/allowed_hosts/0",
                "/transport/proxy",
                "/transport/client_certificate/certificate",
                "/transport/client_certificate/key",
                "/transport/ca",
            ]
        );
    }
}

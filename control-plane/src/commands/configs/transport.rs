//! A config's transport as it is written: everything that is wrong with it at once, or what can be shown of it, with the secrets
//! taken out. Opens no connection and reads no file.

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

/// How requests leave, and where they may go; as it is stored, secrets or their markers in their places. Has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportSettings {
    /// Url of a proxy, with its user and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Certificates in PEM that are trusted beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// What is shown to a server that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// Hosts that may be reached; empty: the host of each step's own url.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
}

/// A certificate with its key. Has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PEM: the certificate, then those that lead to its root.
    pub certificate: String,
    /// PEM: its private key.
    pub key: String,
}

/// What of a transport passed.
pub(super) struct PreparedTransport {
    /// Markers where secrets belong.
    pub(super) shown: Json,
    /// What belongs there.
    pub(super) secrets: SecretValues,
}

/// Checks a transport, keeping what `kept` holds wherever the marker stands. Pointers begin at the config.
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
    fn diagnostic(&mut self, place: &str, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::new("INVALID_VALUE", format!("/transport{place}"), message));
    }

    fn kept(&self, place: &str) -> Option<String> {
        self.kept.0.get(place).and_then(Json::as_str).map(str::to_owned)
    }

    fn nothing_kept(&mut self, place: &str) {
        self.diagnostic(place, format!("{MARKER:?} keeps a secret's value, and there is none yet"));
    }

    /// What can be shown of the proxy; its whole url becomes a secret where it holds a user.
    fn proxy(&mut self, written: &str) -> String {
        let whole = if user_of(written) == Some(MARKER) {
            match self.kept(PROXY) {
                Some(kept) if without_user(&kept) == written => kept,
                Some(_) => {
                    let message = format!(
                        "{MARKER:?} keeps user and password of one proxy, and this is another: write them again"
                    );
                    self.diagnostic(PROXY, message);
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
            // The text is shown nowhere: where it is no url, nobody can say which part of it is the password.
            let message = format!("not a url of a proxy such as http://proxy.example.com:3128: {why}");
            self.diagnostic(PROXY, message);
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
                        let message = format!("certificate {index} cannot be trusted: {error}");
                        self.diagnostic("/ca", message);
                    }
                }
            }
            Err(why) => self.diagnostic("/ca", why),
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
            let own = chain.first().ok_or("no certificate in PEM stands here")?;
            ParsedCertificate::try_from(own)
                .map_err(|error| format!("certificate 0 does not read: {error}"))?;
            Ok(chain)
        });
        let chain = chain.map_err(|why| self.diagnostic(CERTIFICATE, why));
        let Some(key) = key else { return shown };
        let parsed = private_key(&key).map_err(|why| self.diagnostic(KEY, why));
        if let (Ok(chain), Ok(parsed)) = (chain, parsed)
            && let Err(error) = CertifiedKey::from_der(chain, parsed, &crypto::ring::default_provider())
        {
            let message = match error {
                TlsError::InconsistentKeys(_) => "not the key of the certificate".to_owned(),
                error => format!("not a key that TLS can sign with: {error}"),
            };
            self.diagnostic(KEY, message);
        }
        self.secrets.insert(KEY.to_owned(), Json::from(key));
        shown
    }
}

fn check_proxy(whole: &str) -> Result<(), String> {
    if whole.len() > MAX_PROXY_BYTES {
        return Err(format!("{} bytes are more than {MAX_PROXY_BYTES}", whole.len()));
    }
    let url = Url::parse(whole).map_err(|error| error.to_string())?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(format!("its scheme is none of {}", SCHEMES.join(", ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it has no host".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("it goes on behind the port (percent-encode what stands in user and password)".to_owned());
    }
    // Stricter in what must be percent-encoded, and what the executor's client reads it by.
    let uri = whole.parse::<http::Uri>();
    uri.map(drop).map_err(|_| "a character in it must be percent-encoded".to_owned())
}

/// Where the authority of a url stands in it.
fn authority(url: &str) -> Option<(usize, usize)> {
    let begin = url.find("://")? + 3;
    let length = url[begin..].find(['/', '?', '#']).unwrap_or(url.len() - begin);
    Some((begin, begin + length))
}

/// User and password of a url, as they stand there.
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
                return Err("a private key stands here, where everybody can read it".to_owned());
            }
            other => return Err(format!("{other:?} stands here beside certificates")),
        }
    }
    if found.is_empty() { Err("no certificate in PEM stands here".to_owned()) } else { Ok(found) }
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    let mut sections = sections(pem)?.into_iter();
    match (sections.next(), sections.next()) {
        (Some((kind, der)), None) => PrivateKeyDer::from_pem(kind, der)
            .ok_or_else(|| format!("{kind:?} stands here in place of a private key")),
        (Some(_), Some(_)) => Err("more than one private key in PEM stands here".to_owned()),
        (None, _) => Err("no private key in PEM stands here (an encrypted one is none)".to_owned()),
    }
}

fn sections(pem: &str) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(format!("{} bytes are more than {MAX_PEM_BYTES}", pem.len()));
    }
    if pem.contains('\0') {
        return Err("the character U+0000 cannot be stored".to_owned());
    }
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "it is no PEM".to_owned())
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
    fn what_is_no_proxy_is_refused_without_showing_it() {
        for (proxy, words) in [
            ("proxy.test:3128", "scheme is none of"),
            ("ftp://me:hush@proxy.test", "scheme is none of"),
            ("http://me:hush@", "empty host"),
            ("http://me:hu/sh@proxy.test", "port"),
            ("http://proxy.test/path", "behind the port"),
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
    fn user_and_password_of_a_proxy_are_taken_out_and_kept_for_it_alone() {
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
            assert!(diagnostics(&by(other), &kept)[0].1.contains("this is another"), "{other}");
        }
        assert!(
            diagnostics(&by("http://[SECRET]@proxy.test:3128"), &SecretValues::default())[0]
                .1
                .contains("none yet")
        );
        let open = prepare(&by("socks5h://proxy.test"), &kept).ok().unwrap();
        assert!(open.secrets.0.is_empty());
    }

    #[test]
    fn certificates_and_keys_are_read_when_they_are_written() {
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
            (with("", &own.key), "/transport/client_certificate/certificate", "no certificate in PEM"),
            (with(&broken, &own.key), "/transport/client_certificate/certificate", "does not read"),
            (
                with(&own.key, &own.key),
                "/transport/client_certificate/certificate",
                "a private key stands here",
            ),
            (with(&own.certificate, ""), "/transport/client_certificate/key", "no private key in PEM"),
            (
                with(&own.certificate, &own.certificate),
                "/transport/client_certificate/key",
                "in place of a private key",
            ),
            (
                with(&own.certificate, &other.key),
                "/transport/client_certificate/key",
                "not the key of the certificate",
            ),
            (with(&own.certificate, MARKER), "/transport/client_certificate/key", "none yet"),
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
    fn what_is_trusted_is_a_list_of_certificates() {
        let trusting = |ca: String| TransportSettings { ca: Some(ca), ..TransportSettings::default() };
        let own = identity();
        for (ca, words) in [
            ("none".to_owned(), "no certificate in PEM"),
            (own.key.clone(), "a private key stands here"),
            (own.certificate.replace("MII", "AII"), "certificate 0 cannot be trusted"),
            ("-----BEGIN CERTIFICATE-----\n!\n".to_owned(), "no PEM"),
            (own.certificate.repeat(600), "more than"),
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
    fn all_faults_are_told_at_once() {
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

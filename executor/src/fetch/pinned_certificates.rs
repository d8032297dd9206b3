//! Trust in the certificates of a config's `transport.ca`: as issuers, and, if a server shows one
//! of them as its own, as this server's certificate.
//!
//! Appliances often show a certificate that is its own issuer. RFC 5280 does not allow the
//! certificate of an authority as that of a server, but whoever lists exactly this certificate
//! trusts it. Its name and validity are checked like those of any other.

use std::sync::Arc;

use chrono::NaiveDateTime;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::fetch::transport::{ClientCertificate, TransportError};

/// Protocols that connections offer, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Creates a TLS configuration that trusts these certificates in addition to the system's.
///
/// # Errors
/// If there is no valid certificate, or the client's does not match its key.
pub(super) fn tls_config(
    ca: &str,
    client_certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, TransportError> {
    let pinned = certificates(ca).filter(|pinned| !pinned.is_empty()).ok_or(TransportError::Ca)?;
    let provider = CryptoProvider::get_default().cloned().ok_or(TransportError::NoCrypto)?;
    let verifier = Verifier::new_with_extra_roots(pinned.iter().cloned(), Arc::clone(&provider));
    let verifier = PinnedVerifier { pinned, issued: verifier.map_err(|_| TransportError::Ca)? };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TransportError::NoCrypto)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_certificate {
        None => builder.with_no_client_auth(),
        Some(ClientCertificate { certificate, key }) => {
            let chain = certificates(certificate).ok_or(TransportError::ClientCertificate)?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
            let key = key.map_err(|_| TransportError::ClientCertificate)?;
            builder.with_client_auth_cert(chain, key).map_err(|_| TransportError::ClientCertificate)?
        }
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok()
}

/// A verifier that accepts listed certificates as those of servers.
#[derive(Debug)]
struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    /// Verifies certificates that an authority has issued: a listed one, or one of the system's.
    issued: Verifier,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // A certificate whose validity cannot be read is left to the other verifier.
        if self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref())
            && let Some(validity) = Validity::read(end_entity)
        {
            validity.check(now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// The time in which a certificate is valid.
struct Validity {
    not_before: UnixTime,
    not_after: UnixTime,
}

/// Tags of ASN.1 (X.690).
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;

impl Validity {
    /// Reads the validity of a certificate in DER (RFC 5280, 4.1).
    fn read(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut fields, _) = element(certificate, SEQUENCE)?;
        // The version is optional; serial number, signature algorithm and issuer follow.
        if let Some((_, rest)) = element(fields, VERSION) {
            fields = rest;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            (_, fields) = element(fields, tag)?;
        }
        let (validity, _) = element(fields, SEQUENCE)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Self { not_before, not_after })
    }

    fn check(&self, now: UnixTime) -> Result<(), Error> {
        let Self { not_before, not_after } = *self;
        let reason = if now < not_before {
            CertificateError::NotValidYetContext { time: now, not_before }
        } else if now > not_after {
            CertificateError::ExpiredContext { time: now, not_after }
        } else {
            return Ok(());
        };
        Err(Error::InvalidCertificate(reason))
    }
}

/// Returns the content of the first element if it has this tag, and the bytes behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7F => (usize::from(short), rest),
        // The number of bytes of the length; certificates are smaller than 16 MiB.
        long @ 0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7F))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| *first == tag)
}

/// Reads a time, and returns the bytes behind it.
fn time(der: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (text, rest, century) = match element(der, UTC_TIME) {
        // Years below 50 are in this century (RFC 5280, 4.1.2.5.1).
        Some((text, rest)) => (text, rest, if text.first()? < &b'5' { "20" } else { "19" }),
        None => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, ""))?,
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?.and_utc().timestamp();
    // Times before 1970 are long past, and counted as its beginning.
    let seconds = u64::try_from(time).unwrap_or_default();
    Some((UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)), rest))
}

//! Explains certificates that were refused: why, and what to change.

use chrono::{DateTime, SecondsFormat};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// Most names of a certificate that a message lists.
const MAX_NAMES: usize = 20;

/// Returns an explanation if the error is about a certificate: the server's, or the client's, which
/// the server refuses. No retry mends such an error.
pub(super) fn explain(error: &Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(reason) => Some(explain_server(reason)),
        Error::NoCertificatesPresented => Some("the server has no certificate".to_owned()),
        Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired,
        ) => {
            let words = "the server refuses the client certificate, or asks for one that the config's \
                         transport.client_certificate does not set";
            Some(format!("{words}: {error}"))
        }
        _ => None,
    }
}

fn explain_server(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            "the server's certificate is not trusted, because its issuer is unknown: put the certificate of the \
             issuer, or that of the server itself, into the config's transport.ca"
                .to_owned()
        }
        CertificateError::Other(other) if is_own_issuer(other) => {
            "the server's certificate is its own issuer: put it into the config's transport.ca".to_owned()
        }
        CertificateError::Expired => "the server's certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate expired at {}", time(*not_after))
        }
        CertificateError::NotValidYet => "the server's certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the server's certificate is only valid from {} on", time(*not_before))
        }
        CertificateError::NotValidForName => {
            "the server's certificate is for another name than that of the url".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("the server's certificate is not for {}, but for {}", expected.to_str(), names(presented))
        }
        CertificateError::Revoked => "the server's certificate was revoked".to_owned(),
        CertificateError::BadSignature => {
            "the server's certificate is not signed by the issuer that it names".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not meant for servers".to_owned()
        }
        other => format!("the server's certificate is refused: {other}"),
    }
}

/// Returns whether a certificate was refused because it is that of a certificate authority.
fn is_own_issuer(reason: &OtherError) -> bool {
    // The type belongs to a crate that the client uses internally; only its text is visible here.
    format!("{reason:?}").contains("CaUsedAsEndEntity")
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    // Printed as `DnsName("example.com")` and `IpAddress(127.0.0.1)`.
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        inner.trim_matches('"').to_owned()
    };
    let mut listed: Vec<String> = presented.iter().take(MAX_NAMES).map(plain).collect();
    if presented.len() > MAX_NAMES {
        listed.push(format!("{} more", presented.len() - MAX_NAMES));
    }
    listed.join(", ")
}

fn time(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp(seconds, 0);
    time.map_or_else(|| format!("second {seconds}"), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

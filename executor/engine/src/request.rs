//! A request, rendered, and the rules that whoever sends it must keep: where redirects may lead, how much may come back.
//!
//! The engine checks the first url itself; each redirect is for the sender to check with [`RedirectPolicy::check`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::Decompress;
use url::Url;

/// Redirects of one try.
const MAX_HOPS: u8 = 10;

/// One HTTP request. Holds secrets: its `Debug` shows method and host alone.
#[derive(Clone)]
pub struct Request {
    /// GET, POST, PUT, PATCH, DELETE or HEAD.
    pub method: &'static str,
    /// Absolute, `http` or `https`.
    pub url: Url,
    /// Lower-case name and value; names may repeat. Without `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// What to send.
    pub body: Option<Bytes>,
    /// From connecting to the last byte read, less what was no wait for the upstream.
    pub timeout: Duration,
    /// Most bytes of a body that is handed over whole, decoded; more is `TooLarge`, stopped while reading.
    pub max_body_bytes: u64,
    /// The same of one that is handed over piece by piece.
    pub max_stream_bytes: u64,
    /// Where redirects may lead.
    pub redirects: RedirectPolicy,
    /// What is unpacked.
    pub decompress: Decompress,
    /// Whether an answer is handed over piece by piece, as it comes.
    pub pieces: Pieces,
}

/// Which answers are handed over piece by piece ([`crate::Input::Head`]), so that none is ever held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// None.
    Never,
    /// Successes whose content type says JSON lines or CSV.
    ByType,
    /// Every success.
    Always,
}

impl Pieces {
    /// Whether an answer with this status and content type is handed over piece by piece.
    pub fn takes(self, status: u16, content_type: &str) -> bool {
        if !(200..300).contains(&status) || status == 204 {
            return false;
        }
        match self {
            Pieces::Never => false,
            Pieces::Always => true,
            Pieces::ByType => {
                let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                matches!(
                    kind.as_str(),
                    "text/csv"
                        | "application/csv"
                        | "application/x-ndjson"
                        | "application/ndjson"
                        | "application/jsonl"
                        | "application/json-lines"
                        | "application/jsonlines"
                )
            }
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {})", self.method, host_and_port(&self.url))
    }
}

/// Where the redirects of a request may lead.
#[derive(Debug, Clone)]
pub struct RedirectPolicy {
    /// Most redirects that are followed; one more is `TooManyRedirects`.
    pub max_hops: u8,
    /// Hosts that may be reached.
    pub hosts: HostPolicy,
}

impl RedirectPolicy {
    /// At most 10 hops, within these hosts.
    pub fn new(hosts: HostPolicy) -> RedirectPolicy {
        RedirectPolicy { max_hops: MAX_HOPS, hosts }
    }

    /// Whether a redirect from one url to another may be followed. The error says why not, as a `HostNotAllowed`.
    pub fn check(&self, from: &Url, to: &Url) -> Result<(), HostRefusal> {
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(HostRefusal::Downgrade { to: host_and_port(to) });
        }
        self.hosts.check(to)
    }
}

/// Hosts that a step may reach.
#[derive(Debug, Clone)]
pub enum HostPolicy {
    /// The config's `allowed_hosts`; never empty.
    Allowed(Arc<[String]>),
    /// The host of the step's own url.
    SameAs(Url),
}

/// A url that the host policy refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostRefusal {
    /// Neither http nor https.
    #[error("scheme {scheme:?} is neither http nor https")]
    Scheme {
        /// What it is.
        scheme: String,
    },
    /// From https to http.
    #[error("{to} would be reached by http after https")]
    Downgrade {
        /// Host and port.
        to: String,
    },
    /// Not in `allowed_hosts`.
    #[error("host {host} is not in allowed_hosts")]
    NotAllowed {
        /// Host and port.
        host: String,
    },
    /// Another host than the step's.
    #[error("host {host} is not the step's host {own}, and the config allows no other")]
    OtherHost {
        /// Host and port.
        host: String,
        /// The step's.
        own: String,
    },
}

impl HostPolicy {
    /// Whether the url may be reached.
    pub fn check(&self, url: &Url) -> Result<(), HostRefusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HostRefusal::Scheme { scheme: url.scheme().to_owned() });
        }
        match self {
            HostPolicy::Allowed(patterns) => {
                if patterns.iter().any(|pattern| matches_pattern(pattern, url)) {
                    Ok(())
                } else {
                    Err(HostRefusal::NotAllowed { host: host_and_port(url) })
                }
            }
            HostPolicy::SameAs(own) => {
                if same_host(own, url) {
                    Ok(())
                } else {
                    Err(HostRefusal::OtherHost { host: host_and_port(url), own: host_and_port(own) })
                }
            }
        }
    }
}

/// `host` (any port), `host:port`, or `*.host` (any name below it, not itself).
fn matches_pattern(pattern: &str, url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let pattern = pattern.trim().to_ascii_lowercase();
    if let Some(parent) = pattern.strip_prefix("*.") {
        return host.strip_suffix(parent).is_some_and(|left| left.len() > 1 && left.ends_with('.'));
    }
    if host == pattern {
        return true;
    }
    url.port_or_known_default().is_some_and(|port| pattern == format!("{host}:{port}"))
}

/// The same name; and the same port, unless both are their scheme's own (http to https).
fn same_host(own: &Url, url: &Url) -> bool {
    own.host_str() == url.host_str()
        && (own.port() == url.port() || own.port_or_known_default() == url.port_or_known_default())
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn allowed(patterns: &[&str]) -> HostPolicy {
        HostPolicy::Allowed(patterns.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn a_pattern_with_a_star_means_names_below_it() {
        let policy = allowed(&["*.example.com"]);
        assert!(policy.check(&url("https://a.example.com/")).is_ok());
        assert!(policy.check(&url("https://a.b.example.com/")).is_ok());
        assert!(policy.check(&url("https://example.com/")).is_err());
        assert!(policy.check(&url("https://evilexample.com/")).is_err());
        assert!(policy.check(&url("https://.example.com.evil.test/")).is_err());
    }

    #[test]
    fn a_pattern_without_a_port_means_any_and_with_one_that() {
        assert!(allowed(&["Example.com"]).check(&url("https://example.com:8443/")).is_ok());
        assert!(allowed(&["example.com:8443"]).check(&url("https://example.com:8443/")).is_ok());
        assert!(allowed(&["example.com:443"]).check(&url("https://example.com/")).is_ok());
        assert!(allowed(&["example.com:8443"]).check(&url("https://example.com/")).is_err());
    }

    #[test]
    fn without_a_list_only_the_own_host_is_reached() {
        let policy = HostPolicy::SameAs(url("http://example.com/a"));
        assert!(policy.check(&url("http://example.com/b")).is_ok());
        assert!(policy.check(&url("https://example.com/b")).is_ok(), "http to https on the schemes' ports");
        assert!(policy.check(&url("http://example.com:8080/b")).is_err());
        let refused = policy.check(&url("http://other.test/b")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "host other.test is not the step's host example.com, and the config allows no other"
        );
    }

    #[test]
    fn https_never_falls_to_http() {
        let policy = RedirectPolicy::new(allowed(&["example.com"]));
        let refused = policy.check(&url("https://example.com/"), &url("http://example.com/"));
        assert_eq!(refused, Err(HostRefusal::Downgrade { to: "example.com".into() }));
        assert!(policy.check(&url("http://example.com/"), &url("https://example.com/")).is_ok());
    }

    #[test]
    fn other_schemes_are_refused() {
        assert!(allowed(&["example.com"]).check(&url("ftp://example.com/")).is_err());
    }
}

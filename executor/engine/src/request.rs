//! A rendered request, with the rules that its sender has to enforce: permitted redirects and
//! maximum body size.
//!
//! The engine checks the first URL itself; the sender checks each redirect with
//! [`RedirectPolicy::check`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::{Decompression, FilePattern};
use url::Url;

use crate::body::BodyFormat;

/// Maximum number of redirects of one try.
const MAX_HOPS: u8 = 10;

/// One HTTP request. Holds secrets: its `Debug` shows only method and host.
#[derive(Clone)]
pub struct Request {
    /// GET, POST, PUT, PATCH, DELETE or HEAD.
    pub method: &'static str,
    /// Absolute URL with scheme `http` or `https`.
    pub url: Url,
    /// The URL without user, query and fragment, and with secrets redacted: for logs, traces and
    /// heartbeats.
    pub label: String,
    /// Lower-case names and values; names may repeat. `host` and `content-length` are not included.
    pub headers: Vec<(String, String)>,
    /// Body to send.
    pub body: Option<Bytes>,
    /// Time limit from connecting to the last byte read, less the time that was not spent waiting
    /// for the upstream.
    pub timeout: Duration,
    /// Maximum size in bytes of a decoded body that is delivered whole; a larger one is `TooLarge`,
    /// and reading stops there.
    pub max_body_bytes: u64,
    /// Maximum size in bytes of a decoded body that is streamed.
    pub max_stream_bytes: u64,
    /// Permitted redirects.
    pub redirects: RedirectPolicy,
    /// Encodings to decompress.
    pub decompress: Decompression,
    /// Files of a zip archive to read; `None` for an archive of one file.
    pub archive_files: Option<FilePattern>,
    /// Responses whose body is streamed.
    pub streaming: BodyStreaming,
}

/// Selects the responses whose body is streamed ([`crate::Input::ResponseHead`]) instead of held in
/// memory as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStreaming {
    /// No response.
    Never,
    /// Successes whose content type is JSON lines or CSV.
    ByContentType,
    /// Successes whose content type is JSON lines, CSV, text or a file: all but JSON and XML.
    FilesToo,
    /// Every success.
    Always,
}

impl BodyStreaming {
    /// Returns whether the body of a response with this status and content type is streamed.
    pub fn applies(self, status: u16, content_type: &str) -> bool {
        if !(200..300).contains(&status) || status == 204 {
            return false;
        }
        let format = || BodyFormat::from_content_type(content_type);
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::FilesToo => {
                !matches!(format(), BodyFormat::Json | BodyFormat::JsonOrText | BodyFormat::Xml)
            }
            Self::ByContentType => matches!(format(), BodyFormat::Csv | BodyFormat::JsonLines),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {})", self.method, host_and_port(&self.url))
    }
}

/// Redirects that a request may follow.
#[derive(Debug, Clone)]
pub struct RedirectPolicy {
    /// Maximum number of redirects to follow; one more is `TooManyRedirects`.
    pub max_hops: u8,
    /// Hosts that may be reached.
    pub hosts: HostPolicy,
}

impl RedirectPolicy {
    /// Creates a policy of at most 10 hops within these hosts.
    pub fn new(hosts: HostPolicy) -> Self {
        Self { max_hops: MAX_HOPS, hosts }
    }

    /// Checks whether a redirect from one URL to another may be followed.
    ///
    /// # Errors
    /// Fails if the redirect leads from https to http, or to a URL that the host policy refuses;
    /// the sender reports either as [`crate::FetchErrorKind::HostNotAllowed`].
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
    /// Only the host of the step's own URL.
    SameAs(Url),
}

/// Reason for refusing a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostRefusal {
    /// The scheme is neither http nor https.
    #[error("scheme {scheme:?} is neither http nor https")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// The URL would be reached by http after https.
    #[error("{to} would be reached by http after https")]
    Downgrade {
        /// Host and port.
        to: String,
    },
    /// The host is not in `allowed_hosts`.
    #[error("host {host} is not in the config's transport.allowed_hosts: add it there to permit it")]
    NotAllowed {
        /// Host and port.
        host: String,
    },
    /// A response has chosen the host, and neither the plan nor the config names it.
    #[error(
        "host {host} was chosen by a response: it is not that of the step which the url came from ({homes}), \
         and the config's transport.allowed_hosts does not name it"
    )]
    ChosenByResponse {
        /// Host and port.
        host: String,
        /// Hosts and ports of the steps that the URL came from, joined by commas.
        homes: String,
    },
    /// The host is not the step's own, and the config permits no other.
    #[error(
        "host {host} is not the step's host {own}: to permit it, list both in the config's \
         transport.allowed_hosts"
    )]
    OtherHost {
        /// Host and port.
        host: String,
        /// Host and port of the step's own URL.
        own: String,
    },
}

impl HostPolicy {
    /// Checks whether a URL may be reached.
    ///
    /// # Errors
    /// Fails if the scheme is neither http nor https, or the policy does not include the host.
    pub fn check(&self, url: &Url) -> Result<(), HostRefusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HostRefusal::Scheme { scheme: url.scheme().to_owned() });
        }
        match self {
            Self::Allowed(patterns) => {
                if patterns.iter().any(|pattern| matches_pattern(pattern, url)) {
                    Ok(())
                } else {
                    Err(HostRefusal::NotAllowed { host: host_and_port(url) })
                }
            }
            Self::SameAs(own) => {
                if same_host(own, url) {
                    Ok(())
                } else {
                    Err(HostRefusal::OtherHost { host: host_and_port(url), own: host_and_port(own) })
                }
            }
        }
    }
}

impl HostPolicy {
    /// Checks whether a URL whose host a response has chosen may be reached. `homes` are the URLs
    /// that the plan and the config name for the steps that it came from; they matter unless the
    /// config has a list.
    ///
    /// # Errors
    /// Fails if neither the list nor a home includes the host, or the scheme falls from https to
    /// http.
    pub(crate) fn check_answer(&self, url: &Url, homes: &[Url]) -> Result<(), HostRefusal> {
        let at_home: Vec<&Url> = homes.iter().filter(|home| same_host(home, url)).collect();
        match self {
            Self::Allowed(_) => self.check(url)?,
            Self::SameAs(_) if at_home.is_empty() => {
                let names: Vec<String> = homes.iter().map(host_and_port).collect();
                let homes = if names.is_empty() { "unknown".to_owned() } else { names.join(", ") };
                return Err(HostRefusal::ChosenByResponse { host: host_and_port(url), homes });
            }
            Self::SameAs(_) => {}
        }
        let sources = if at_home.is_empty() { homes.iter().collect() } else { at_home };
        if url.scheme() == "http"
            && !sources.is_empty()
            && sources.iter().all(|home| home.scheme() == "https")
        {
            return Err(HostRefusal::Downgrade { to: host_and_port(url) });
        }
        Ok(())
    }
}

/// Matches a URL against `host` (any port), `host:port`, or `*.host` (any name below it, but not
/// `host` itself).
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

/// Compares host and port. Two default ports count as equal, so that a redirect from http to https
/// is permitted.
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
    fn star_pattern_matches_only_names_below_it() {
        let policy = allowed(&["*.example.com"]);
        assert!(policy.check(&url("https://a.example.com/")).is_ok());
        assert!(policy.check(&url("https://a.b.example.com/")).is_ok());
        assert!(policy.check(&url("https://example.com/")).is_err());
        assert!(policy.check(&url("https://evilexample.com/")).is_err());
        assert!(policy.check(&url("https://.example.com.evil.test/")).is_err());
    }

    #[test]
    fn pattern_without_port_matches_any_port() {
        assert!(allowed(&["Example.com"]).check(&url("https://example.com:8443/")).is_ok());
        assert!(allowed(&["example.com:8443"]).check(&url("https://example.com:8443/")).is_ok());
        assert!(allowed(&["example.com:443"]).check(&url("https://example.com/")).is_ok());
        assert!(allowed(&["example.com:8443"]).check(&url("https://example.com/")).is_err());
    }

    #[test]
    fn empty_host_list_permits_only_own_host() {
        let policy = HostPolicy::SameAs(url("http://example.com/a"));
        assert!(policy.check(&url("http://example.com/b")).is_ok());
        assert!(policy.check(&url("https://example.com/b")).is_ok(), "http to https on the default ports");
        assert!(policy.check(&url("http://example.com:8080/b")).is_err());
        let refused = policy.check(&url("http://other.test/b")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "host other.test is not the step's host example.com: to permit it, list both in the \
             config's transport.allowed_hosts"
        );
    }

    #[test]
    fn redirect_from_https_to_http_is_refused() {
        let policy = RedirectPolicy::new(allowed(&["example.com"]));
        let refused = policy.check(&url("https://example.com/"), &url("http://example.com/"));
        assert_eq!(refused, Err(HostRefusal::Downgrade { to: "example.com".into() }));
        assert!(policy.check(&url("http://example.com/"), &url("https://example.com/")).is_ok());
    }

    #[test]
    fn url_of_a_response_stays_at_home_or_in_the_list() {
        let homes = [url("https://api.example.com"), url("http://old.example.com:8080")];
        let own = HostPolicy::SameAs(url("https://unused.test"));
        let list = allowed(&["*.example.com"]);
        let check = |policy: &HostPolicy, text: &str| policy.check_answer(&url(text), &homes).is_ok();
        for (text, by_home, by_list) in [
            ("https://api.example.com/x", true, true),
            ("https://files.example.com/x", false, true),
            ("http://api.example.com/x", false, false),
            ("http://files.example.com/x", false, true),
            ("http://old.example.com:8080/x", true, true),
            ("https://evil.test/x", false, false),
        ] {
            assert_eq!((check(&own, text), check(&list, text)), (by_home, by_list), "{text}");
        }
        assert!(list.check_answer(&url("http://files.example.com/x"), &homes[..1]).is_err(), "https stays");
        assert!(list.check_answer(&url("http://files.example.com/x"), &[]).is_ok());
        assert_eq!(
            own.check_answer(&url("https://evil.test/x"), &homes).unwrap_err().to_string(),
            "host evil.test was chosen by a response: it is not that of the step which the url came from \
             (api.example.com, old.example.com:8080), and the config's transport.allowed_hosts does not name it"
        );
    }

    #[test]
    fn scheme_other_than_http_is_refused() {
        assert!(allowed(&["example.com"]).check(&url("ftp://example.com/")).is_err());
    }
}

//! Redirects, hop by hop.
//!
//! In: the request of the last hop and the answer's status and `Location`. Out: the request of the next hop, or why there
//! is none. Sends nothing; the caller counts the hops.

use orchid_engine::{FetchError, FetchErrorKind, Request};
use url::Url;

/// What crosses to another origin. Anything else may be a credential, under whatever name.
const HARMLESS_HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-language",
    "content-type",
    "range",
    "user-agent",
];

/// What an answer says about going on.
#[derive(Debug)]
pub(crate) enum Hop {
    /// It is the answer.
    Stay,
    /// Ask there.
    Follow(Box<Request>),
}

/// Decides about one answer; `hops` were followed before it.
pub(crate) fn next_hop(
    request: &Request,
    hops: u8,
    status: u16,
    location: Option<&str>,
) -> Result<Hop, FetchError> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(Hop::Stay);
    }
    let Some(mut to) = location.and_then(|location| request.url.join(location).ok()) else {
        return Ok(Hop::Stay);
    };
    let refuse = |kind, message| FetchError { kind, message, status: Some(status) };
    if hops >= request.redirects.max_hops {
        let message = format!("more than {} redirects", request.redirects.max_hops);
        return Err(refuse(FetchErrorKind::TooManyRedirects, message));
    }
    request
        .redirects
        .check(&request.url, &to)
        .map_err(|refusal| refuse(FetchErrorKind::HostNotAllowed, format!("redirect refused: {refusal}")))?;
    forget_userinfo(&mut to);
    if to.fragment().is_none() {
        to.set_fragment(request.url.fragment());
    }
    Ok(Hop::Follow(Box::new(follow(request, status, to))))
}

fn follow(request: &Request, status: u16, to: Url) -> Request {
    let mut next = request.clone();
    // RFC 9110, 15.4: 303 always asks again with GET, 301 and 302 turn POST into GET, 307 and 308 keep everything.
    let keeps_method = match status {
        303 => request.method == "HEAD",
        301 | 302 => request.method != "POST",
        _ => true,
    };
    if !keeps_method {
        next.method = "GET";
        next.body = None;
        next.headers.retain(|(name, _)| !name.starts_with("content-"));
    }
    if to.origin() != request.url.origin() {
        next.headers.retain(|(name, _)| HARMLESS_HEADERS.contains(&name.as_str()));
    }
    next.url = to;
    next
}

/// A redirect does not get to choose credentials. (Setting them fails only for urls without a host, which have none.)
fn forget_userinfo(url: &mut Url) {
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use orchid_engine::{HostPolicy, RedirectPolicy};

    use super::*;

    fn request(method: &'static str, url: &str, allowed: &[&str]) -> Request {
        let url = Url::parse(url).unwrap();
        let hosts = if allowed.is_empty() {
            HostPolicy::SameAs(url.clone())
        } else {
            HostPolicy::Allowed(allowed.iter().map(|host| (*host).to_owned()).collect())
        };
        let headers = [
            ("accept", "application/json"),
            ("authorization", "Bearer t"),
            ("x-api-key", "k"),
            ("content-type", "text/plain"),
        ];
        Request {
            method,
            url,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: Some(Bytes::from_static(b"x")),
            timeout: Duration::from_secs(30),
            max_body_bytes: 1024,
            redirects: RedirectPolicy::new(hosts),
            max_stream_bytes: u64::MAX,
            decompress: orchid_plan::Decompression::Auto,
            streaming: orchid_engine::BodyStreaming::Never,
        }
    }

    fn followed(request: &Request, status: u16, location: &str) -> Request {
        match next_hop(request, 0, status, Some(location)).unwrap() {
            Hop::Follow(next) => *next,
            Hop::Stay => panic!("stayed"),
        }
    }

    fn names(request: &Request) -> Vec<&str> {
        request.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_redirect_to_another_host_is_refused_unless_the_config_allows_it() {
        let alone = request("GET", "https://a.test/x", &[]);
        let error = next_hop(&alone, 0, 302, Some("https://b.test/y")).unwrap_err();
        assert_eq!(error.kind, FetchErrorKind::HostNotAllowed);
        let both = request("GET", "https://a.test/x", &["a.test", "b.test"]);
        assert_eq!(followed(&both, 302, "https://b.test/y").url.as_str(), "https://b.test/y");
    }

    #[test]
    fn https_never_falls_to_http() {
        let error = next_hop(&request("GET", "https://a.test/", &[]), 0, 301, Some("http://a.test/"));
        assert_eq!(error.unwrap_err().kind, FetchErrorKind::HostNotAllowed);
    }

    #[test]
    fn the_eleventh_hop_is_one_too_many() {
        let request = request("GET", "https://a.test/", &[]);
        assert!(next_hop(&request, 9, 302, Some("/b")).is_ok());
        let error = next_hop(&request, 10, 302, Some("/b")).unwrap_err();
        assert_eq!(error.kind, FetchErrorKind::TooManyRedirects);
        assert_eq!(error.status, Some(302));
    }

    #[test]
    fn only_harmless_headers_cross_origins() {
        let request = request("GET", "https://a.test/x", &["a.test", "b.test"]);
        assert_eq!(names(&followed(&request, 307, "https://b.test/")), ["accept", "content-type"]);
        assert_eq!(names(&followed(&request, 307, "https://a.test:8443/")), ["accept", "content-type"]);
        assert_eq!(names(&followed(&request, 307, "/y")).len(), 4, "the same origin keeps all");
    }

    #[test]
    fn methods_and_bodies_change_as_the_rfc_says() {
        let cases = [
            ("POST", 301, "GET", false),
            ("POST", 302, "GET", false),
            ("PUT", 302, "PUT", true),
            ("PUT", 303, "GET", false),
            ("HEAD", 303, "HEAD", true),
            ("POST", 307, "POST", true),
            ("DELETE", 308, "DELETE", true),
        ];
        for (method, status, expected, keeps_body) in cases {
            let next = followed(&request(method, "https://a.test/x", &[]), status, "y?z=1");
            assert_eq!((next.method, next.body.is_some()), (expected, keeps_body), "{method} {status}");
            assert_eq!(next.url.as_str(), "https://a.test/y?z=1");
        }
    }

    #[test]
    fn userinfo_of_a_location_is_dropped() {
        let next = followed(&request("GET", "https://a.test/x", &[]), 302, "https://u:p@a.test/y");
        assert_eq!(next.url.as_str(), "https://a.test/y");
    }

    #[test]
    fn an_answer_that_points_nowhere_is_the_answer() {
        let request = request("GET", "https://a.test/x", &[]);
        for (status, location) in [(200, Some("/y")), (304, Some("/y")), (302, None), (302, Some("http://["))]
        {
            assert!(
                matches!(next_hop(&request, 0, status, location), Ok(Hop::Stay)),
                "{status} {location:?}"
            );
        }
    }
}

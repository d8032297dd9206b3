//! Redirects, one hop at a time. Sends nothing; the caller counts the hops.

use orchid_engine::{FetchError, FetchErrorKind, HostPolicy, Request};
use url::Url;

/// Headers that a redirect may carry to another origin. Any other header may be a credential.
const HARMLESS_HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-language",
    "content-type",
    "range",
    "user-agent",
];

/// The consequence of a response for the redirect chain.
#[derive(Debug)]
pub(crate) enum NextHop {
    /// The response is no redirect: it is the result.
    Stay,
    /// Send this request next.
    Follow(Box<Request>),
}

/// Decides on one response, after `hops` redirects.
///
/// # Errors
///
/// Fails when there are too many redirects, or the target host is not allowed.
pub(crate) fn next_hop(
    request: &Request,
    hops: u8,
    status: u16,
    location: Option<&str>,
) -> Result<NextHop, FetchError> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(NextHop::Stay);
    }
    let Some(mut target) = location.and_then(|location| request.url.join(location).ok()) else {
        return Ok(NextHop::Stay);
    };
    let refuse = |kind, message| FetchError { kind, message, status: Some(status), received: None };
    if hops >= request.redirects.max_hops {
        let message = format!("more than {} redirects", request.redirects.max_hops);
        return Err(refuse(FetchErrorKind::TooManyRedirects, message));
    }
    request
        .redirects
        .check(&request.url, &target)
        .map_err(|refusal| refuse(FetchErrorKind::HostNotAllowed, format!("redirect refused: {refusal}")))?;
    set_userinfo(&mut target, &request.url);
    // RFC 9110, 10.2.2: a redirect without a fragment inherits that of the request.
    if target.fragment().is_none() {
        target.set_fragment(request.url.fragment());
    }
    let next = redirected_request(request, status, target);
    // `allowed_hosts` is the list of hosts that people trust with what the plan sends. Without it,
    // a redirect on the same host may still lead to another scheme and port.
    let is_named = matches!(next.redirects.hosts, HostPolicy::Allowed(_));
    if next.body.is_some() && next.url.origin() != request.url.origin() && !is_named {
        let message = format!(
            "redirect refused: it would send the body to {}, which is another origin; use that url in the \
             plan, or name its host in the config's transport.allowed_hosts",
            next.url.origin().ascii_serialization()
        );
        return Err(refuse(FetchErrorKind::HostNotAllowed, message));
    }
    Ok(NextHop::Follow(Box::new(next)))
}

fn redirected_request(request: &Request, status: u16, target: Url) -> Request {
    let mut next = request.clone();
    // RFC 9110, 15.4: 303 always continues with GET, 301 and 302 turn POST into GET, 307 and 308
    // keep everything.
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
    if target.origin() != request.url.origin() {
        next.headers.retain(|(name, _)| HARMLESS_HEADERS.contains(&name.as_str()));
    }
    next.url = target;
    next
}

/// Sets user and password: those of the request on its own origin, none on another. The upstream
/// must not choose credentials. The calls fail only for URLs without a host, which have none.
fn set_userinfo(target: &mut Url, from: &Url) {
    let (user, password) =
        if target.origin() == from.origin() { (from.username(), from.password()) } else { ("", None) };
    let _ = target.set_username(user);
    let _ = target.set_password(password);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use orchid_engine::RedirectPolicy;

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
            label: String::new(),
            max_stream_bytes: u64::MAX,
            decompress: orchid_plan::Decompression::Auto,
            archive_files: None,
            streaming: orchid_engine::BodyStreaming::Never,
        }
    }

    fn followed(request: &Request, status: u16, location: &str) -> Request {
        match next_hop(request, 0, status, Some(location)).unwrap() {
            NextHop::Follow(next) => *next,
            NextHop::Stay => panic!("stayed"),
        }
    }

    fn names(request: &Request) -> Vec<&str> {
        request.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn redirect_to_another_host_needs_an_allowed_host() {
        let alone = request("GET", "https://a.test/x", &[]);
        let error = next_hop(&alone, 0, 302, Some("https://b.test/y")).unwrap_err();
        assert_eq!(error.kind, FetchErrorKind::HostNotAllowed);
        let both = request("GET", "https://a.test/x", &["a.test", "b.test"]);
        assert_eq!(followed(&both, 302, "https://b.test/y").url.as_str(), "https://b.test/y");
    }

    #[test]
    fn redirect_from_https_to_http_is_refused() {
        let error = next_hop(&request("GET", "https://a.test/", &[]), 0, 301, Some("http://a.test/"));
        assert_eq!(error.unwrap_err().kind, FetchErrorKind::HostNotAllowed);
    }

    #[test]
    fn eleventh_redirect_is_refused() {
        let request = request("GET", "https://a.test/", &[]);
        assert!(next_hop(&request, 9, 302, Some("/b")).is_ok());
        let error = next_hop(&request, 10, 302, Some("/b")).unwrap_err();
        assert_eq!(error.kind, FetchErrorKind::TooManyRedirects);
        assert_eq!(error.status, Some(302));
    }

    #[test]
    fn only_harmless_headers_reach_another_origin() {
        let request = request("GET", "https://a.test/x", &["a.test", "b.test"]);
        assert_eq!(names(&followed(&request, 307, "https://b.test/")), ["accept", "content-type"]);
        assert_eq!(names(&followed(&request, 307, "https://a.test:8443/")), ["accept", "content-type"]);
        assert_eq!(names(&followed(&request, 307, "/y")).len(), 4, "the same origin keeps all");
    }

    #[test]
    fn method_and_body_change_by_rfc_9110() {
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
    fn userinfo_is_that_of_the_request_on_its_origin_only() {
        let next = followed(&request("GET", "https://a.test/x", &[]), 302, "https://u:p@a.test/y");
        assert_eq!(next.url.as_str(), "https://a.test/y");
        let own = request("GET", "https://me:key@a.test/x", &["a.test", "b.test"]);
        for location in ["/y", "https://a.test/y", "https://u:p@a.test/y"] {
            assert_eq!(followed(&own, 302, location).url.as_str(), "https://me:key@a.test/y", "{location}");
        }
        assert_eq!(followed(&own, 302, "https://u:p@b.test/y").url.as_str(), "https://b.test/y");
        assert_eq!(followed(&own, 302, "https://a.test:8443/y").url.as_str(), "https://a.test:8443/y");
    }

    #[test]
    fn body_reaches_another_origin_only_by_allowed_hosts() {
        let alone = request("POST", "http://a.test/x", &[]);
        let refused = next_hop(&alone, 0, 307, Some("https://a.test/x")).unwrap_err();
        assert_eq!((refused.kind, refused.status), (FetchErrorKind::HostNotAllowed, Some(307)));
        assert!(refused.message.contains("transport.allowed_hosts"), "{}", refused.message);
        // Without the body, the same redirect is the usual way to https.
        assert!(followed(&alone, 303, "https://a.test/x").body.is_none());
        assert!(followed(&alone, 308, "/y").body.is_some());
        let named = request("PUT", "https://a.test/x", &["a.test", "b.test"]);
        assert!(followed(&named, 308, "https://b.test/y").body.is_some());
    }

    #[test]
    fn response_without_usable_location_is_the_result() {
        let request = request("GET", "https://a.test/x", &[]);
        for (status, location) in [(200, Some("/y")), (304, Some("/y")), (302, None), (302, Some("http://["))]
        {
            assert!(
                matches!(next_hop(&request, 0, status, location), Ok(NextHop::Stay)),
                "{status} {location:?}"
            );
        }
    }
}

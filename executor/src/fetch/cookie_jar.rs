//! The cookies of one attempt (RFC 6265).
//!
//! Each response's `Set-Cookie` headers are stored with the URL of the response, and later requests
//! carry the cookies that match their host, path and scheme. Cookies are never shared between
//! attempts. Their number and size are bounded; cookies beyond the bounds are ignored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cookie_store::{Cookie, CookieStore};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use url::Url;

/// RFC 6265, 6.1 asks clients to support at least 4096 bytes per cookie.
const MAX_COOKIE_BYTES: usize = 8192;
/// Far more than an API sets; browsers keep about 180 per site.
const MAX_COOKIES: usize = 300;

/// The cookies of one attempt.
#[derive(Default)]
pub(super) struct CookieJar {
    /// Most upstreams set no cookie, and then no request takes the lock.
    has_any: AtomicBool,
    cookies: Mutex<CookieStore>,
}

impl CookieJar {
    /// Stores the cookies of a response from `url`. Ignores those that the host may not set.
    pub(super) fn store(&self, url: &Url, headers: &HeaderMap) {
        for text in headers.get_all(SET_COOKIE) {
            let Ok(text) = text.to_str() else { continue };
            if text.len() > MAX_COOKIE_BYTES {
                continue;
            }
            let Ok(cookie) = Cookie::parse(text, url) else { continue };
            let mut cookies = self.lock();
            let is_known = cookies.contains_any(
                String::from(&cookie.domain).as_str(),
                String::from(&cookie.path).as_str(),
                cookie.name(),
            );
            if is_known || cookies.iter_any().count() < MAX_COOKIES {
                // Fails for cookies that the host may not set, such as those of another host.
                let _ = cookies.insert(cookie.into_owned(), url);
                // Release pairs with the Acquire in `header`: whoever sees the flag sees the
                // cookie.
                self.has_any.store(true, Ordering::Release);
            }
        }
    }

    /// Returns the `Cookie` header for a request to `url`, or `None` if no cookie matches.
    pub(super) fn header(&self, url: &Url) -> Option<HeaderValue> {
        if !self.has_any.load(Ordering::Acquire) {
            return None;
        }
        let cookies = self.lock();
        let mut matching = cookies.matches(url);
        // RFC 6265, 5.4: cookies with longer paths come first.
        matching.sort_by_key(|cookie| std::cmp::Reverse(String::from(&cookie.path).len()));
        let pairs: Vec<String> =
            matching.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }

    fn lock(&self) -> MutexGuard<'_, CookieStore> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(from: &str, cookies: &[&str]) -> CookieJar {
        let jar = CookieJar::default();
        store(&jar, from, cookies);
        jar
    }

    fn store(jar: &CookieJar, from: &str, cookies: &[&str]) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        jar.store(&from.parse().unwrap(), &headers);
    }

    fn sent(jar: &CookieJar, to: &str) -> String {
        let header = jar.header(&to.parse().unwrap());
        header.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn cookie_is_sent_only_where_it_matches() {
        let jar = jar(
            "https://api.example.com/v1/login",
            &["a=1", "b=2; Domain=example.com; Path=/", "c=3; Path=/v1/x"],
        );
        let cases = [
            ("https://api.example.com/v1/rows", "a=1; b=2", "without c's path"),
            ("https://api.example.com/v1/x/y", "c=3; a=1; b=2", "the longer path first"),
            ("https://api.example.com/v2", "b=2", "a's path is that of the login"),
            ("https://other.example.com/v1/", "b=2", "another host of the domain"),
            ("https://evil-example.com/", "", "not part of the domain"),
            ("https://example.org/", "", "another site"),
        ];
        for (to, cookies, why) in cases {
            let mut expected: Vec<_> = cookies.split("; ").collect();
            let header = sent(&jar, to);
            let mut found: Vec<_> = header.split("; ").collect();
            if to.ends_with("/y") {
                assert_eq!(found[0], "c=3", "{why}");
            }
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{to}: {why}");
        }
    }

    #[test]
    fn cookie_that_a_server_may_not_set_is_ignored() {
        let cases = [
            "a=1; Domain=other.test",
            "",
            "=",
            "a=1; Max-Age=0",
            "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ];
        for cookie in cases {
            assert_eq!(sent(&jar("https://api.test/", &[cookie]), "https://api.test/"), "", "{cookie}");
        }
        let large = format!("a={}", "x".repeat(MAX_COOKIE_BYTES));
        assert_eq!(sent(&jar("https://api.test/", &[&large]), "https://api.test/"), "");
    }

    #[test]
    fn secure_cookie_stays_on_https_and_can_be_replaced() {
        let jar = jar("https://api.test/", &["s=1; Secure", "p=1"]);
        assert_eq!(sent(&jar, "http://api.test/"), "p=1");
        store(&jar, "https://api.test/", &["p=2; Path=/", "s=; Max-Age=0"]);
        assert_eq!(sent(&jar, "https://api.test/"), "p=2");
    }

    #[test]
    fn full_jar_adds_none_but_updates_stored_cookies() {
        let jar = CookieJar::default();
        for number in 0..MAX_COOKIES + 10 {
            store(&jar, "https://api.test/", &[&format!("c{number}=1; Path=/{number}")]);
        }
        assert_eq!(jar.lock().iter_any().count(), MAX_COOKIES);
        store(&jar, "https://api.test/", &["c0=2; Path=/0", "late=1"]);
        assert_eq!(sent(&jar, "https://api.test/0"), "c0=2");
    }
}

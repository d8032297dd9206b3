//! The cookies of one run (RFC 6265).
//!
//! In: answers' `Set-Cookie`, with the url that answered. Out: the `Cookie` of a later request of the same run, for the
//! hosts, paths and schemes that they were set for. Nothing is shared between runs, and nothing outlives one. Bounded: what
//! comes beyond is not kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cookie_store::{Cookie, CookieStore};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use url::Url;

/// RFC 6265, 6.1 asks for at least 4096 bytes a cookie.
const MAX_COOKIE_BYTES: usize = 8192;
/// Far above what one API sets; browsers keep about 180 a site.
const MAX_COOKIES: usize = 300;

#[derive(Default)]
pub(super) struct Jar {
    /// Most upstreams set none, and then no request looks for any.
    has_any: AtomicBool,
    store: Mutex<CookieStore>,
}

impl Jar {
    /// Keeps what an answer sets, unless it is meant for other hosts than the one that answered.
    pub(super) fn keep(&self, from: &Url, headers: &HeaderMap) {
        for text in headers.get_all(SET_COOKIE) {
            let Ok(text) = text.to_str() else { continue };
            if text.len() > MAX_COOKIE_BYTES {
                continue;
            }
            let Ok(cookie) = Cookie::parse(text, from) else { continue };
            let mut store = self.lock();
            let is_known = store.contains_any(
                String::from(&cookie.domain).as_str(),
                String::from(&cookie.path).as_str(),
                cookie.name(),
            );
            if is_known || store.iter_any().count() < MAX_COOKIES {
                // Refused is what a server may not set, such as a cookie for another host.
                let _ = store.insert(cookie.into_owned(), from);
                self.has_any.store(true, Ordering::Release);
            }
        }
    }

    /// What a request to this url carries; none where nothing was set for it.
    pub(super) fn header(&self, to: &Url) -> Option<HeaderValue> {
        if !self.has_any.load(Ordering::Acquire) {
            return None;
        }
        let store = self.lock();
        let mut cookies = store.matches(to);
        // RFC 6265, 5.4: the more exact path first.
        cookies.sort_by_key(|cookie| std::cmp::Reverse(String::from(&cookie.path).len()));
        let pairs: Vec<String> =
            cookies.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }

    fn lock(&self) -> MutexGuard<'_, CookieStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(from: &str, cookies: &[&str]) -> Jar {
        let jar = Jar::default();
        keep(&jar, from, cookies);
        jar
    }

    fn keep(jar: &Jar, from: &str, cookies: &[&str]) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        jar.keep(&from.parse().unwrap(), &headers);
    }

    fn sent(jar: &Jar, to: &str) -> String {
        let header = jar.header(&to.parse().unwrap());
        header.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_back_where_it_came_from_and_nowhere_else() {
        let jar = jar(
            "https://api.example.com/v1/login",
            &["a=1", "b=2; Domain=example.com; Path=/", "c=3; Path=/v1/x"],
        );
        let cases = [
            ("https://api.example.com/v1/rows", "a=1; b=2", "without c's path"),
            ("https://api.example.com/v1/x/y", "c=3; a=1; b=2", "the more exact path first"),
            ("https://api.example.com/v2", "b=2", "a's path is that of the login"),
            ("https://other.example.com/v1/", "b=2", "another host of the domain"),
            ("https://evil-example.com/", "", "no part of the domain"),
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
    fn what_a_server_may_not_set_is_not_kept() {
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
    fn a_secure_cookie_stays_on_https_and_a_new_value_replaces_the_old() {
        let jar = jar("https://api.test/", &["s=1; Secure", "p=1"]);
        assert_eq!(sent(&jar, "http://api.test/"), "p=1");
        keep(&jar, "https://api.test/", &["p=2; Path=/", "s=; Max-Age=0"]);
        assert_eq!(sent(&jar, "https://api.test/"), "p=2");
    }

    #[test]
    fn only_so_many_are_kept_but_those_can_still_change() {
        let jar = Jar::default();
        for number in 0..MAX_COOKIES + 10 {
            keep(&jar, "https://api.test/", &[&format!("c{number}=1; Path=/{number}")]);
        }
        assert_eq!(jar.lock().iter_any().count(), MAX_COOKIES);
        keep(&jar, "https://api.test/", &["c0=2; Path=/0", "late=1"]);
        assert_eq!(sent(&jar, "https://api.test/0"), "c0=2");
    }
}

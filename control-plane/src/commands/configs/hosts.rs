//! Validates the reachable hosts of a config.

use crate::commands::Diagnostic;

const MAX_HOSTS: usize = 100;

/// Returns the problems of a list of hosts.
pub(super) fn diagnostics(hosts: &[String]) -> Vec<Diagnostic> {
    if hosts.len() > MAX_HOSTS {
        let message = format!("{} hosts are too many; the limit is {MAX_HOSTS}", hosts.len());
        return vec![Diagnostic::new("TOO_LARGE", "/transport/allowed_hosts", message)];
    }
    let wrong = hosts.iter().enumerate().filter(|(_, host)| !is_host_pattern(host));
    let diagnostics = wrong.map(|(index, host)| {
        let message = format!("{host:?} is not a host pattern: write host, host:port or *.host");
        let bare =
            host.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default().to_lowercase());
        Diagnostic::new("INVALID_VALUE", format!("/transport/allowed_hosts/{index}"), message)
            .suggest(bare.filter(|host| is_host_pattern(host)))
    });
    diagnostics.collect()
}

fn is_host_pattern(pattern: &str) -> bool {
    let (host, port) = match pattern.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (pattern, None),
    };
    let port_is_fine = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_v6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok() && !host.starts_with("*."));
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    port_is_fine && (is_v6 || (name.len() <= 253 && name.split('.').all(is_label)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_not_host_patterns() {
        for good in ["api.example.com", "localhost:8080", "*.example.com", "[::1]:80", "10.0.0.1"] {
            assert!(is_host_pattern(good), "{good}");
        }
        for bad in ["", "https://a.b", "a b", "*", "*.", "a:0", "a:99999", "a/b", "*.[::1]", "a..b"] {
            assert!(!is_host_pattern(bad), "{bad}");
        }
        let diagnostics = diagnostics(&["https://API.example.com/v1".to_owned()]);
        assert_eq!(diagnostics[0].suggestion.as_deref(), Some("api.example.com"));
    }
}

//! A config as it is written: everything that is wrong with it at once, or its values with the secrets taken out.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{
    schema,
    secrets::{MARKER, Secrets},
};
use crate::commands::Fault;

const MAX_VALUES_BYTES: usize = 256 * 1024;
const MAX_HOSTS: usize = 100;

/// What of a config passed.
pub(super) struct Prepared {
    /// The values, a marker where a secret belongs.
    pub(super) values: Json,
    /// What belongs there.
    pub(super) secrets: Secrets,
}

/// Checks values against a schema, keeping what `kept` holds wherever the marker stands.
pub(super) fn prepare(values: &Json, schema: Option<&Json>, kept: &Secrets) -> Result<Prepared, Vec<Fault>> {
    let size = values.to_string().len();
    if size > MAX_VALUES_BYTES {
        let message = format!("{size} bytes are more than {MAX_VALUES_BYTES}");
        return Err(vec![Fault::new("TOO_LARGE", "/values", message)]);
    }
    let mut secret = schema.map(|schema| schema::secret_pointers(schema, values)).unwrap_or_default();
    let mut values = values.clone();
    let mut faults = keep(&mut values, &mut secret, kept);
    if let Some(schema) = schema {
        faults.extend(schema::faults(schema, &values, &secret));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let secrets = Secrets::take_out(&mut values, &secret);
    Ok(Prepared { values, secrets })
}

/// Puts kept secrets where their marker was written. What was secret stays so, also where the schema no longer marks it.
fn keep(values: &mut Json, secret: &mut BTreeSet<String>, kept: &Secrets) -> Vec<Fault> {
    let mut faults = Vec::new();
    let candidates: BTreeSet<String> = secret.iter().cloned().chain(kept.0.keys().cloned()).collect();
    for pointer in candidates {
        let Some(place) = values.pointer_mut(&pointer).filter(|value| value.as_str() == Some(MARKER)) else {
            continue;
        };
        if let Some(value) = kept.0.get(&pointer) {
            place.clone_from(value);
            secret.insert(pointer);
        } else {
            let message = format!("{MARKER:?} keeps a secret's value, and there is none yet");
            faults.push(Fault::new("INVALID_VALUE", format!("/values{pointer}"), message));
        }
    }
    faults
}

/// What is wrong with a list of hosts.
pub(super) fn host_faults(hosts: &[String]) -> Vec<Fault> {
    if hosts.len() > MAX_HOSTS {
        let message = format!("{} hosts are more than {MAX_HOSTS}", hosts.len());
        return vec![Fault::new("TOO_LARGE", "/allowed_hosts", message)];
    }
    let wrong = hosts.iter().enumerate().filter(|(_, host)| !is_host_pattern(host));
    let faults = wrong.map(|(index, host)| {
        let message = format!("{host:?} is none of host, host:port, *.host");
        let bare =
            host.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default().to_lowercase());
        Fault::new("INVALID_VALUE", format!("/allowed_hosts/{index}"), message)
            .suggest(bare.filter(|host| is_host_pattern(host)))
    });
    faults.collect()
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
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn schema() -> Json {
        json!({"properties": {"token": {"type": "string", "writeOnly": true, "minLength": 4}}})
    }

    #[test]
    fn the_marker_keeps_a_secret_and_cannot_make_one() {
        let kept = Secrets(BTreeMap::from([("/token".to_owned(), json!("hush"))]));
        let prepared = prepare(&json!({"token": MARKER}), Some(&schema()), &kept).ok().unwrap();
        assert_eq!(prepared.values, json!({"token": MARKER}));
        assert_eq!(prepared.secrets.0["/token"], json!("hush"));

        let faults = prepare(&json!({"token": MARKER}), Some(&schema()), &Secrets::default()).err().unwrap();
        assert_eq!(faults[0].pointer, "/values/token");
    }

    #[test]
    fn a_kept_secret_stays_secret_where_the_schema_forgot_it() {
        let kept = Secrets(BTreeMap::from([("/token".to_owned(), json!("hush"))]));
        let prepared = prepare(&json!({"token": MARKER}), None, &kept).ok().unwrap();
        assert_eq!(prepared.values, json!({"token": MARKER}));
        assert_eq!(prepared.secrets.0.len(), 1);
    }

    #[test]
    fn what_is_kept_is_checked_by_the_newest_schema() {
        let kept = Secrets(BTreeMap::from([("/token".to_owned(), json!("abc"))]));
        let faults = prepare(&json!({"token": MARKER}), Some(&schema()), &kept).err().unwrap();
        assert_eq!(faults[0].pointer, "/values/token");
        assert!(!faults[0].message.contains("abc"), "{}", faults[0].message);
    }

    #[test]
    fn urls_are_no_hosts() {
        for good in ["api.example.com", "localhost:8080", "*.example.com", "[::1]:80", "10.0.0.1"] {
            assert!(is_host_pattern(good), "{good}");
        }
        for bad in ["", "https://a.b", "a b", "*", "*.", "a:0", "a:99999", "a/b", "*.[::1]", "a..b"] {
            assert!(!is_host_pattern(bad), "{bad}");
        }
        let faults = host_faults(&["https://API.example.com/v1".to_owned()]);
        assert_eq!(faults[0].suggestion.as_deref(), Some("api.example.com"));
    }
}

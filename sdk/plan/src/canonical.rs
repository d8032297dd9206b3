//! Canonical JSON of definitions, and its hash, under which a definition is stored and cached.
//!
//! The hash is persisted and sent to executors: the same definition must have the same hash in
//! every version of Orchid.

use std::fmt;

use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

/// 2^53. Every integer of a smaller magnitude has an exact double.
const EXACT_INTEGERS_BELOW: f64 = 9_007_199_254_740_992.0;

/// SHA-256 of a definition's canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionHash(pub [u8; 32]);

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the hash of a definition. White space and the order of members do not change it.
#[must_use]
pub fn definition_hash(definition: &Value) -> DefinitionHash {
    DefinitionHash(Sha256::digest(canonical_json(definition)).into())
}

/// Returns JSON without white space, with members sorted by the bytes of their names, and with
/// integral doubles below 2^53 written as integers.
#[must_use]
pub fn canonical_json(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name.as_bytes());
            out.push(b'{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Value::String(name.clone()).to_string().as_bytes());
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
        Value::Number(number) => out.extend_from_slice(integer(number).to_string().as_bytes()),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// Replaces integral doubles by integers at any depth, because a `google.protobuf.Struct` holds
/// every number as a double. Doubles of 2^53 and above stay: their digits may be lost already.
#[must_use]
pub fn integers_from_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(integer(&number)),
        Value::Array(items) => Value::Array(items.into_iter().map(integers_from_doubles).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, integers_from_doubles(value)))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

fn integer(number: &Number) -> Number {
    match number.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
        Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() < EXACT_INTEGERS_BELOW => {
            Number::from(double as i64)
        }
        _ => number.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_space_and_integral_doubles_do_not_change_the_hash() {
        let a: Value = serde_json::from_str(r#"{"b": [1, 2.0], "a": {"y": "ü", "x": null}}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":{"x":null,"y":"\u00fc"},"b":[1.0,2]}"#).unwrap();
        assert_eq!(String::from_utf8(canonical_json(&a)).unwrap(), r#"{"a":{"x":null,"y":"ü"},"b":[1,2]}"#);
        assert_eq!(definition_hash(&a), definition_hash(&b));
        assert_ne!(definition_hash(&a), definition_hash(&json!({"a": 1})));
    }

    #[test]
    fn doubles_that_may_have_lost_digits_stay_doubles() {
        assert_eq!(integers_from_doubles(json!([5.0, 0.5, -3.0])), json!([5, 0.5, -3]));
        assert!(integers_from_doubles(json!(9_007_199_254_740_992.0)).is_f64());
    }

    #[test]
    fn hash_of_a_definition_never_changes() {
        let hash = definition_hash(&json!({"step": {"url": "https://example.com/items"}})).to_string();
        assert_eq!(hash, hex::encode(Sha256::digest(br#"{"step":{"url":"https://example.com/items"}}"#)));
    }
}

//! A row as it is emitted: as it came, or with what its sub-steps left under one member, `_steps`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

const MEMBER: &str = "\"_steps\":";

/// `{…row, "_steps": steps}`; a row that is no object becomes `{"value": row, "_steps": steps}`. The row's own bytes stay as
/// they came, but for a `_steps` of the upstream's, which is replaced.
pub(crate) fn attach_steps(row: &Bytes, steps: &[u8]) -> Bytes {
    let text = row.trim_ascii();
    let mut shown = Vec::with_capacity(text.len() + steps.len() + 24);
    match text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")) {
        Some(_) if may_hold_member(text) && rebuilt(text, &mut shown) => {}
        Some(members) => {
            shown.push(b'{');
            shown.extend_from_slice(members);
            if !members.trim_ascii().is_empty() {
                shown.push(b',');
            }
        }
        None => {
            shown.extend_from_slice(b"{\"value\":");
            shown.extend_from_slice(text);
            shown.push(b',');
        }
    }
    shown.extend_from_slice(MEMBER.as_bytes());
    shown.extend_from_slice(steps);
    shown.push(b'}');
    shown.into()
}

/// A member's name can be spelled with escapes: then the text is looked at as JSON.
fn may_hold_member(text: &[u8]) -> bool {
    text.windows(6).any(|part| part == b"_steps") || text.contains(&b'\\')
}

/// Writes the members without `_steps`, in their order, each with a comma behind it; false where there is no such member.
fn rebuilt(text: &[u8], shown: &mut Vec<u8>) -> bool {
    let Ok(Members(members)) = serde_json::from_slice::<Members<'_>>(text) else { return false };
    if !members.iter().any(|(name, _)| name == "_steps") {
        return false;
    }
    shown.push(b'{');
    for (name, value) in members.iter().filter(|(name, _)| name != "_steps") {
        shown.extend(orchid_plan::Value::from(name.as_str()).to_json());
        shown.push(b':');
        shown.extend_from_slice(value.get().as_bytes());
        shown.push(b',');
    }
    true
}

/// The members of an object in their order; `serde_json`'s own maps sort them.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(row: &str) -> String {
        let shown = attach_steps(&Bytes::copy_from_slice(row.as_bytes()), b"{\"a\":[1]}");
        String::from_utf8(shown.to_vec()).unwrap()
    }

    #[test]
    fn a_row_carries_its_steps_and_keeps_its_bytes() {
        let cases = [
            (r#"{"id": 1.00, "z":"\u00e9"}"#, r#"{"id": 1.00, "z":"\u00e9","_steps":{"a":[1]}}"#),
            ("{}", r#"{"_steps":{"a":[1]}}"#),
            ("{ }", r#"{ "_steps":{"a":[1]}}"#),
            ("5", r#"{"value":5,"_steps":{"a":[1]}}"#),
            ("[1]", r#"{"value":[1],"_steps":{"a":[1]}}"#),
            ("null", r#"{"value":null,"_steps":{"a":[1]}}"#),
        ];
        for (row, expected) in cases {
            assert_eq!(shown(row), expected);
        }
    }

    #[test]
    fn a_steps_member_of_the_upstream_is_replaced_however_it_is_spelled() {
        assert_eq!(shown(r#"{"b":1.0,"_steps":2,"a":3}"#), r#"{"b":1.0,"a":3,"_steps":{"a":[1]}}"#);
        assert_eq!(shown(r#"{"\u005fsteps":2}"#), r#"{"_steps":{"a":[1]}}"#);
        assert_eq!(shown(r#"{"a":{"_steps":2}}"#), r#"{"a":{"_steps":2},"_steps":{"a":[1]}}"#);
    }
}

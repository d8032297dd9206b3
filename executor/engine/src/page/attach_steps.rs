//! Adds the rows of sub-steps to a row, as its member `_steps`, without changing the row's own
//! bytes.

use bytes::Bytes;
use orchid_plan::RawMembers;

/// Name of the member with the rows of sub-steps.
const NAME: &str = "_steps";
const MEMBER: &str = "\"_steps\":";

/// Returns `{…row, "_steps": steps}`; a row that is not an object becomes `{"value": row, "_steps":
/// steps}`. A `_steps` of the upstream is replaced.
pub(crate) fn attach_steps(row: &Bytes, steps: &[u8]) -> Bytes {
    let text = row.trim_ascii();
    let mut emitted = Vec::with_capacity(text.len() + steps.len() + 24);
    match text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")) {
        // Parsing is slow, and rarely needed: most rows have no such member.
        Some(_) if may_hold_member(text) && rebuilt(text, &mut emitted) => {}
        Some(members) => {
            emitted.push(b'{');
            emitted.extend_from_slice(members);
            if !members.trim_ascii().is_empty() {
                emitted.push(b',');
            }
        }
        None => {
            emitted.extend_from_slice(b"{\"value\":");
            emitted.extend_from_slice(text);
            emitted.push(b',');
        }
    }
    emitted.extend_from_slice(MEMBER.as_bytes());
    emitted.extend_from_slice(steps);
    emitted.push(b'}');
    emitted.into()
}

/// Returns whether the row may have a member `_steps`. A name can be spelled with escapes, so a
/// backslash counts.
fn may_hold_member(text: &[u8]) -> bool {
    text.windows(6).any(|part| part == b"_steps") || text.contains(&b'\\')
}

/// Writes the members except `_steps`, in their order, each followed by a comma; returns false if
/// there is no such member.
fn rebuilt(text: &[u8], emitted: &mut Vec<u8>) -> bool {
    // A row is valid JSON. Should it not be, it is emitted as received.
    let Ok(members) = RawMembers::of(text).collect::<Result<Vec<_>, _>>() else { return false };
    if !members.iter().any(|(name, _)| name.is(NAME)) {
        return false;
    }
    emitted.push(b'{');
    for (name, value) in members.iter().filter(|(name, _)| !name.is(NAME)) {
        emitted.push(b'"');
        emitted.extend_from_slice(name.raw());
        emitted.extend_from_slice(b"\":");
        emitted.extend_from_slice(value);
        emitted.push(b',');
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(row: &str) -> String {
        let emitted = attach_steps(&Bytes::copy_from_slice(row.as_bytes()), b"{\"a\":[1]}");
        String::from_utf8(emitted.to_vec()).unwrap()
    }

    #[test]
    fn row_keeps_its_bytes() {
        let cases = [
            (r#"{"id": 1.00, "z":"\u00e9"}"#, r#"{"id": 1.00, "z":"\u00e9","_steps":{"a":[1]}}"#),
            ("{}", r#"{"_steps":{"a":[1]}}"#),
            ("{ }", r#"{ "_steps":{"a":[1]}}"#),
            ("5", r#"{"value":5,"_steps":{"a":[1]}}"#),
            ("[1]", r#"{"value":[1],"_steps":{"a":[1]}}"#),
            ("null", r#"{"value":null,"_steps":{"a":[1]}}"#),
        ];
        for (row, expected) in cases {
            assert_eq!(emitted(row), expected);
        }
    }

    #[test]
    fn existing_steps_member_is_replaced() {
        assert_eq!(emitted(r#"{"b":1.0,"_steps":2,"a":3}"#), r#"{"b":1.0,"a":3,"_steps":{"a":[1]}}"#);
        assert_eq!(emitted(r#"{"\u005fsteps":2}"#), r#"{"_steps":{"a":[1]}}"#);
        assert_eq!(emitted(r#"{"a":{"_steps":2}}"#), r#"{"a":{"_steps":2},"_steps":{"a":[1]}}"#);
    }
}

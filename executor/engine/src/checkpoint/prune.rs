//! Reduces a value to the parts that expressions read.

use orchid_plan::{JsonType, Value};

/// Returns the parts of a value on `paths` (names of members, from the top); no list of paths keeps
/// everything. A path that ends, or meets a list, keeps all from there.
pub(crate) fn prune(value: &Value, paths: Option<&[Vec<String>]>) -> Value {
    match paths {
        None => value.clone(),
        Some(paths) => keep(value, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>()),
    }
}

fn keep(value: &Value, paths: &[&[String]]) -> Value {
    if paths.is_empty() {
        return Value::null();
    }
    // A list is kept whole: paths do not tell which of its elements are read.
    if value.json_type() != JsonType::Object || paths.iter().any(|path| path.is_empty()) {
        return value.clone();
    }
    let members = value.members().into_iter().flatten();
    Value::object(members.filter_map(|(name, member)| {
        let below: Vec<&[String]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| *first == name)
            .map(|(_, rest)| rest)
            .collect();
        (!below.is_empty()).then(|| (name.to_owned(), keep(&member, &below)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pruned(paths: &[&str]) -> String {
        let value = Value::parse(br#"{"a":{"b":1,"c":[{"d":2}]},"e":3,"f":null}"#).unwrap();
        let paths: Vec<Vec<String>> = paths
            .iter()
            .map(|path| path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect())
            .collect();
        String::from_utf8(prune(&value, Some(&paths)).to_json()).unwrap()
    }

    #[test]
    fn only_read_parts_are_kept() {
        assert_eq!(pruned(&["a.b", "f"]), r#"{"a":{"b":1},"f":null}"#);
        assert_eq!(pruned(&["a.c.d"]), r#"{"a":{"c":[{"d":2}]}}"#);
        assert_eq!(pruned(&["e.x", "gone"]), r#"{"e":3}"#);
        assert_eq!(pruned(&[]), "null");
        assert_eq!(pruned(&["a.b", ""]), r#"{"a":{"b":1,"c":[{"d":2}]},"e":3,"f":null}"#);
    }
}

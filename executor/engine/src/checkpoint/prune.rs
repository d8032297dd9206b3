//! Reduces a value to the parts that expressions read.

use orchid_plan::{JsonType, ReadSegment, Value};

/// Returns the parts of a value on `paths`; no list of paths keeps everything. A path that ends
/// keeps all from there.
///
/// Of a list, the elements that are read stay at their index, as far as expressions can tell: if
/// only some indexes are read, the elements between the first and the last ones are left out.
pub(crate) fn prune(value: &Value, paths: Option<&[Vec<ReadSegment>]>) -> Value {
    match paths {
        None => value.clone(),
        Some(paths) => keep(value, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>()),
    }
}

/// Returns the paths that are read of each element of a list; `None` for everything.
pub(crate) fn element_paths(list: Option<&[Vec<ReadSegment>]>) -> Option<Vec<Vec<ReadSegment>>> {
    let mut elements = Vec::new();
    for path in list? {
        match path.split_first()? {
            (ReadSegment::Every | ReadSegment::Index(_), rest) => elements.push(rest.to_vec()),
            // A list has no members, and its size is no part of an element.
            (ReadSegment::Member(_) | ReadSegment::Size, _) => {}
        }
    }
    Some(elements)
}

fn keep(value: &Value, paths: &[&[ReadSegment]]) -> Value {
    if paths.is_empty() {
        return Value::null();
    }
    if paths.iter().any(|path| path.is_empty()) {
        return value.clone();
    }
    match value.json_type() {
        JsonType::Object => keep_members(value, paths),
        JsonType::List => keep_elements(value, paths),
        JsonType::Null | JsonType::Bool | JsonType::Number | JsonType::Text => value.clone(),
    }
}

fn keep_members(object: &Value, paths: &[&[ReadSegment]]) -> Value {
    let members = object.members().into_iter().flatten();
    let keeps_names = reads_size(paths);
    Value::object(members.filter_map(|(name, member)| {
        let is_name =
            |segment: &ReadSegment| matches!(segment, ReadSegment::Member(member) if member == name);
        let below = rests(paths, is_name);
        (keeps_names || !below.is_empty()).then(|| (name.to_owned(), keep(&member, &below)))
    }))
}

fn keep_elements(list: &Value, paths: &[&[ReadSegment]]) -> Value {
    let length = list.length().unwrap_or_default();
    let first = || paths.iter().filter_map(|path| path.first());
    let is_every = reads_size(paths) || first().any(|segment| matches!(segment, ReadSegment::Every));
    // The numbers of elements that indexes reach from the start and from the end.
    let (mut head, mut tail) = if is_every { (length, 0) } else { (0, 0) };
    for segment in first() {
        match segment {
            ReadSegment::Index(index @ 0..) => head = head.max(distance(*index).saturating_add(1)),
            ReadSegment::Index(index) => tail = tail.max(distance(*index)),
            ReadSegment::Member(_) | ReadSegment::Every | ReadSegment::Size => {}
        }
    }
    let tail_from = length.saturating_sub(tail);
    let kept = (0..length).filter(|at| *at < head || *at >= tail_from);
    Value::list(kept.map(|at| {
        let below = rests(paths, |segment| match segment {
            ReadSegment::Every => true,
            ReadSegment::Index(index @ 0..) => distance(*index) == at,
            ReadSegment::Index(index) => distance(*index) == length - at,
            ReadSegment::Member(_) | ReadSegment::Size => false,
        });
        keep(&list.index(at), &below)
    }))
}

fn reads_size(paths: &[&[ReadSegment]]) -> bool {
    paths.iter().any(|path| path.first() == Some(&ReadSegment::Size))
}

fn distance(index: i32) -> usize {
    usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)
}

/// Returns the rests of the paths whose first segment matches.
fn rests<'p>(paths: &[&'p [ReadSegment]], matches: impl Fn(&ReadSegment) -> bool) -> Vec<&'p [ReadSegment]> {
    let split = paths.iter().filter_map(|path| path.split_first());
    split.filter(|(first, _)| matches(first)).map(|(_, rest)| rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<ReadSegment> {
        let segment = |part: &str| match part.parse() {
            Ok(index) => ReadSegment::Index(index),
            Err(_) if part == "*" => ReadSegment::Every,
            Err(_) if part == "#" => ReadSegment::Size,
            Err(_) => ReadSegment::Member(part.to_owned()),
        };
        text.split('.').filter(|part| !part.is_empty()).map(segment).collect()
    }

    fn pruned(json: &str, paths: &[&str]) -> String {
        let value = Value::parse(json.as_bytes()).unwrap();
        let paths: Vec<Vec<ReadSegment>> = paths.iter().map(|text| path(text)).collect();
        String::from_utf8(prune(&value, Some(&paths)).to_json()).unwrap()
    }

    #[test]
    fn only_read_parts_are_kept() {
        let json = r#"{"a":{"b":1,"c":[{"d":2,"x":0}]},"e":3,"f":null}"#;
        assert_eq!(pruned(json, &["a.b", "f"]), r#"{"a":{"b":1},"f":null}"#);
        assert_eq!(pruned(json, &["a.c"]), r#"{"a":{"c":[{"d":2,"x":0}]}}"#);
        assert_eq!(pruned(json, &["a.c.*.d"]), r#"{"a":{"c":[{"d":2}]}}"#);
        assert_eq!(pruned(json, &["a.c.d"]), r#"{"a":{"c":[]}}"#);
        assert_eq!(pruned(json, &["e.x", "gone"]), r#"{"e":3}"#);
        assert_eq!(pruned(json, &[]), "null");
        assert_eq!(pruned(json, &["a.b", ""]), json);
    }

    #[test]
    fn elements_that_are_read_keep_their_index() {
        let json = r#"[{"a":0,"b":9},{"a":1,"b":9},{"a":2,"b":9},{"a":3,"b":9}]"#;
        assert_eq!(pruned(json, &["-1.a"]), r#"[{"a":3}]"#);
        assert_eq!(pruned(json, &["1.a"]), r#"[null,{"a":1}]"#);
        assert_eq!(pruned(json, &["0.a", "-2.a"]), r#"[{"a":0},{"a":2},null]"#);
        assert_eq!(pruned(json, &["*.a", "-1.b"]), r#"[{"a":0},{"a":1},{"a":2},{"a":3,"b":9}]"#);
        assert_eq!(pruned(json, &["7.a", "-9.a"]), "[null,null,null,null]");
        assert_eq!(pruned("[]", &["-1.a", "0"]), "[]");
    }

    #[test]
    fn sizes_keep_places_and_names() {
        let json = r#"{"a":[{"b":1,"c":2},[3]],"d":{"e":4,"f":5},"g":"text"}"#;
        assert_eq!(pruned(json, &["a.#", "d.#"]), r#"{"a":[null,null],"d":{"e":null,"f":null}}"#);
        assert_eq!(
            pruned(json, &["a.#", "a.0.b", "d.#", "d.f"]),
            r#"{"a":[{"b":1},null],"d":{"e":null,"f":5}}"#
        );
        assert_eq!(pruned(json, &["g.#"]), r#"{"g":"text"}"#);
    }

    #[test]
    fn paths_of_elements_leave_out_the_index() {
        let paths = |texts: &[&str]| {
            let paths: Vec<_> = texts.iter().map(|text| path(text)).collect();
            element_paths(Some(&paths))
        };
        assert_eq!(paths(&["*.a", "-1.b", "c", "#"]), Some(vec![path("a"), path("b")]));
        assert_eq!(paths(&["*.a", ""]), None);
        assert_eq!(element_paths(None), None);
    }
}

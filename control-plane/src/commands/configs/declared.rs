//! What a config schema declares secret, without any values: plans are checked against it before a config need exist.

use serde_json::{Map, Value as Json};

use super::schema;

/// A schema that nests or refers deeper than this has said what it means to say.
const MAX_DEPTH: usize = 24;

/// Paths of members that a schema marks as secret, below the config's values. Inside a list, or under a name that the schema leaves
/// open, it is the path of what holds it: too much is secret then, rather than too little.
pub fn declared_secrets(document: &Json) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    visit(document, document, &[], 0, &mut found);
    found.sort();
    found.dedup();
    found
}

fn visit(root: &Json, document: &Json, path: &[String], depth: usize, found: &mut Vec<Vec<String>>) {
    let Json::Object(members) = document else { return };
    if depth > MAX_DEPTH {
        return;
    }
    if schema::marks_secret(members) {
        found.push(path.to_vec());
        return;
    }
    let target = members.get("$ref").and_then(Json::as_str).and_then(|name| schema::resolve(root, name));
    if let Some(target) = target {
        visit(root, &target, path, depth + 1, found);
    }
    for branch in branches(members) {
        visit(root, branch, path, depth + 1, found);
    }
    for (name, field) in members.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path: Vec<String> = path.iter().chain([name]).cloned().collect();
        visit(root, field, &path, depth + 1, found);
    }
}

/// The schemas of the same value, and of what it holds under no name of its own.
fn branches(members: &Map<String, Json>) -> impl Iterator<Item = &Json> {
    let lists = ["allOf", "anyOf", "oneOf", "prefixItems"];
    let maps = ["dependentSchemas", "patternProperties"];
    let single = [
        "if",
        "then",
        "else",
        "additionalProperties",
        "unevaluatedProperties",
        "items",
        "contains",
        "unevaluatedItems",
    ];
    let lists = lists.into_iter().filter_map(|name| members.get(name)?.as_array()).flatten();
    let maps = maps.into_iter().filter_map(|name| members.get(name)?.as_object()).flat_map(Map::values);
    lists.chain(maps).chain(single.into_iter().filter_map(|name| members.get(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"properties": {"next": {"$ref": "#"}, "key": {"writeOnly": true}}});
        assert!(declared_secrets(&schema).contains(&vec!["key".to_owned()]));
    }

    #[test]
    fn secrets_are_found_by_name_and_else_by_what_holds_them() {
        let schema = json!({
            "properties": {
                "region": {"type": "string"},
                "smtp": {"properties": {"password": {"x-secret": true}}},
                "keys": {"items": {"writeOnly": true}},
                "by_name": {"additionalProperties": {"$ref": "#/$defs/secret"}},
            },
            "allOf": [{"properties": {"token": {"writeOnly": true}}}],
            "$defs": {"secret": {"type": "string", "writeOnly": true}},
        });
        let paths: Vec<String> = declared_secrets(&schema).iter().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["by_name", "keys", "smtp.password", "token"]);
    }
}

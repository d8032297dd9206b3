//! Finds the members that a config schema declares secret, without any values. Plans are checked
//! against them before a config exists.

use serde_json::{Map, Value as Json};

use super::schema;

/// Depth of nesting and references at which the search stops.
const MAX_DEPTH: usize = 24;

/// Returns the paths, relative to the config's values, of members that a schema marks as secret.
///
/// For a secret inside a list, or under a name that the schema leaves open, this is the path of the
/// container: it is safer to treat too much as secret than too little.
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

/// Returns the subschemas of the same value and of its unnamed members.
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
    fn recursive_schema_terminates() {
        let schema = json!({"properties": {"next": {"$ref": "#"}, "key": {"writeOnly": true}}});
        assert!(declared_secrets(&schema).contains(&vec!["key".to_owned()]));
    }

    #[test]
    fn secrets_are_found_by_name_or_container() {
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

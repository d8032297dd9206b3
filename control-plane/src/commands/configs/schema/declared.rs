//! Finds the members that a config schema declares secret, without any values. Plans are checked
//! against them before a config exists.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::graph::{NodeId, SchemaGraph};

/// Maximum length of a path. A recursive schema declares members without end.
const MAX_DEPTH: usize = 24;
/// Maximum number of paths.
const MAX_PATHS: usize = 200;
/// Maximum number of subschemas to visit, counted for each path that they apply to.
const MAX_VISITS: usize = 50_000;

/// Returns the paths, relative to the config's values, of members that a schema marks as secret.
///
/// For a secret inside a list, or under a name that the schema leaves open, this is the path of the
/// container. So it is where a schema declares too many members to list: it is safer to treat too
/// much as secret than too little.
pub(super) fn declared_secrets(graph: &SchemaGraph<'_>) -> Vec<Vec<String>> {
    let Some(root) = graph.root else { return Vec::new() };
    let hides_secret = hides_secret(graph);
    let mut found = BTreeSet::new();
    let mut visits = 0;
    let mut queue = VecDeque::from([(Vec::<&str>::new(), BTreeSet::from([root]))]);
    while let Some((path, applied)) = queue.pop_front() {
        // What hides no secret needs no search, which is most of every schema.
        let applied = with_unnamed(graph, applied, &hides_secret, &mut visits);
        if applied.is_empty() {
            continue;
        }
        let is_full =
            path.len() >= MAX_DEPTH || visits > MAX_VISITS || found.len() + queue.len() >= MAX_PATHS;
        if is_full || applied.iter().any(|id| graph.nodes[*id].is_secret) {
            found.insert(path);
            continue;
        }
        let mut members: BTreeMap<&str, BTreeSet<NodeId>> = BTreeMap::new();
        for id in applied {
            for (name, member) in &graph.nodes[id].properties {
                if hides_secret[*member] {
                    members.entry(*name).or_default().insert(*member);
                }
            }
        }
        if found.len() + queue.len() + members.len() > MAX_PATHS {
            found.insert(path);
            continue;
        }
        for (name, applied) in members {
            queue.push_back((path.iter().copied().chain([name]).collect(), applied));
        }
    }
    found.into_iter().map(|path| path.into_iter().map(str::to_owned).collect()).collect()
}

/// Adds the subschemas of the same value and of its unnamed members, and drops those that hide no
/// secret.
fn with_unnamed(
    graph: &SchemaGraph<'_>,
    applied: BTreeSet<NodeId>,
    hides_secret: &[bool],
    visits: &mut usize,
) -> BTreeSet<NodeId> {
    let mut open: Vec<NodeId> = applied.iter().copied().collect();
    let mut all = applied;
    while let Some(id) = open.pop() {
        *visits += 1;
        let node = &graph.nodes[id];
        for next in node.same.iter().copied().chain(node.unnamed()) {
            if hides_secret[next] && all.insert(next) {
                open.push(next);
            }
        }
    }
    all.retain(|id| hides_secret[*id]);
    all
}

/// Returns for each node whether a secret is at it or anywhere below it.
fn hides_secret(graph: &SchemaGraph<'_>) -> Vec<bool> {
    let mut parents: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes.len()];
    let mut open = Vec::new();
    let mut hides = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        for next in node.same.iter().copied().chain(node.unnamed()).chain(node.properties.values().copied()) {
            parents[next].push(id);
        }
        if node.is_secret {
            hides[id] = true;
            open.push(id);
        }
    }
    while let Some(id) = open.pop() {
        for parent in std::mem::take(&mut parents[id]) {
            if !hides[parent] {
                hides[parent] = true;
                open.push(parent);
            }
        }
    }
    hides
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn declared(schema: &Json) -> Vec<String> {
        let paths = declared_secrets(&SchemaGraph::build(schema).unwrap());
        paths.iter().map(|path| path.join(".")).collect()
    }

    #[test]
    fn recursive_schema_terminates() {
        let schema = json!({"properties": {"next": {"$ref": "#"}, "key": {"writeOnly": true}}});
        let found = declared(&schema);
        assert!(
            found.contains(&"key".to_owned()) && found.contains(&"next.next.key".to_owned()),
            "{found:?}"
        );
        // The deepest container is secret as a whole.
        assert!(found.contains(&vec!["next"; MAX_DEPTH].join(".")));
    }

    #[test]
    fn schema_with_too_many_members_makes_their_container_secret() {
        let branching =
            json!({"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "key": {"writeOnly": true}}});
        let found = declared(&branching);
        assert!(found.len() <= MAX_PATHS + 1, "{}", found.len());
        assert!(found.contains(&"key".to_owned()));
        // Every long path is covered by one of its containers.
        let deep = ["a", "b"].repeat(20).join(".") + ".key";
        assert!(found.iter().any(|path| deep.starts_with(&format!("{path}."))), "{found:?}");
        let many: serde_json::Map<String, Json> =
            (0..1000).map(|n| (format!("m{n}"), json!({"writeOnly": true}))).collect();
        assert_eq!(declared(&json!({"properties": {"all": {"properties": many}}})), ["all"]);
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
        assert_eq!(declared(&schema), ["by_name", "keys", "smtp.password", "token"]);
    }
}

//! Walks values together with their schema: finds the secrets among the values, and counts the work
//! that checking them will be.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Json;

use super::graph::{NodeId, SchemaGraph, SchemaNode};
use crate::commands::Diagnostic;
use crate::commands::json_pointer::escape;

/// Maximum number of pairs of subschema and value to visit.
const MAX_PAIRS: usize = 50_000;
/// Maximum work of a check, in evaluations of one subschema for one value. The validator evaluates
/// a pair again on every way that leads to it.
const MAX_EVALUATIONS: u64 = 100_000;
/// Number of compared alternatives, or of bytes matched by a pattern, that cost as much as one
/// evaluation.
const PER_EVALUATION: u64 = 32;

/// Returns pointers to the values that a schema marks as secret, by `writeOnly` or `x-secret`. A
/// value is secret if any branch of the schema marks it, even a branch that does not apply.
///
/// # Errors
/// Fails if checking the values against the schema would take too long.
pub(super) fn secret_pointers(
    graph: &SchemaGraph<'_>,
    values: &Json,
) -> Result<BTreeSet<String>, Diagnostic> {
    let mut walk = SecretWalk { graph, found: BTreeSet::new(), evaluations: HashMap::new() };
    let root = ValuePlace { parent: None, step: PlaceStep::Root };
    match graph.root.map_or(Some(0), |id| walk.visit(id, values, &root)) {
        Some(evaluations) if evaluations <= MAX_EVALUATIONS => Ok(walk.found),
        Some(_) | None => {
            let message = "checking these values against the config schema takes too many steps: \
                           shorten the values or simplify the schema";
            Err(Diagnostic::new("TOO_LARGE", "", message))
        }
    }
}

/// Place of a value. Pointers are only written for the few values that are secret.
struct ValuePlace<'p> {
    parent: Option<&'p ValuePlace<'p>>,
    step: PlaceStep<'p>,
}

enum PlaceStep<'p> {
    Root,
    Member(&'p str),
    Element(usize),
}

impl ValuePlace<'_> {
    fn pointer(&self) -> String {
        let mut pointer = self.parent.map(ValuePlace::pointer).unwrap_or_default();
        match self.step {
            PlaceStep::Root => {}
            PlaceStep::Member(name) => pointer.push_str(&format!("/{}", escape(name))),
            PlaceStep::Element(index) => pointer.push_str(&format!("/{index}")),
        }
        pointer
    }
}

struct SecretWalk<'g, 's> {
    graph: &'g SchemaGraph<'s>,
    found: BTreeSet<String>,
    /// Evaluations by subschema and address of the value. The values are borrowed, so addresses
    /// are stable.
    evaluations: HashMap<(NodeId, usize), u64>,
}

impl SecretWalk<'_, '_> {
    /// Visits a subschema of a value, once, and returns the number of its evaluations with all that
    /// it applies. Returns none when the walk has become too long.
    fn visit(&mut self, id: NodeId, value: &Json, place: &ValuePlace<'_>) -> Option<u64> {
        let pair = (id, std::ptr::from_ref(value).addr());
        if let Some(known) = self.evaluations.get(&pair) {
            return Some(*known);
        }
        if self.evaluations.len() >= MAX_PAIRS {
            return None;
        }
        // A schema never applies itself to the same value, so the pair is not met again below.
        self.evaluations.insert(pair, 0);
        let node = &self.graph.nodes[id];
        if node.is_secret {
            self.found.insert(place.pointer());
        }
        let mut applied = 0_u64;
        for next in &node.same {
            applied = applied.saturating_add(self.visit(*next, value, place)?);
        }
        // Each nested question evaluates again what is below it, twice as often at every level.
        let repeated = if node.asks_evaluated { 2 } else { 1 };
        let below = match value {
            Json::Object(members) => self.members(node, members, place)?,
            Json::Array(elements) => self.elements(node, elements, place)?,
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 0,
        };
        let work = applied
            .saturating_add(below)
            .saturating_mul(repeated)
            .saturating_add(own_evaluations(node, value, self.graph));
        self.evaluations.insert(pair, work);
        Some(work)
    }

    fn members(
        &mut self,
        node: &SchemaNode<'_>,
        members: &serde_json::Map<String, Json>,
        place: &ValuePlace<'_>,
    ) -> Option<u64> {
        let mut work = 0_u64;
        for (name, member) in members {
            let place = ValuePlace { parent: Some(place), step: PlaceStep::Member(name) };
            let named = node.properties.get(name.as_str()).into_iter();
            let other = node.other_property.iter().filter(|_| !node.declares(name));
            for id in named.chain(&node.any_property).chain(other) {
                work = work.saturating_add(self.visit(*id, member, &place)?);
            }
        }
        Some(work)
    }

    fn elements(&mut self, node: &SchemaNode<'_>, elements: &[Json], place: &ValuePlace<'_>) -> Option<u64> {
        let mut work = 0_u64;
        for (index, element) in elements.iter().enumerate() {
            let place = ValuePlace { parent: Some(place), step: PlaceStep::Element(index) };
            let prefix = node.prefix.get(index).and_then(Option::as_ref);
            for id in prefix.into_iter().chain(&node.elements) {
                work = work.saturating_add(self.visit(*id, element, &place)?);
            }
        }
        Some(work)
    }
}

/// Returns the evaluations of a node's own keywords for one value.
fn own_evaluations(node: &SchemaNode<'_>, value: &Json, graph: &SchemaGraph<'_>) -> u64 {
    let texts = match value {
        Json::String(text) => text.len() as u64,
        Json::Object(members) => members.keys().map(|name| name.len() as u64).sum(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) => 0,
    };
    let members = value.as_object().map_or(0, |members| members.len() as u64);
    let names = node.property_names.map_or(0, |id| graph.nodes[id].applied.saturating_mul(members));
    let matched = node.patterns.saturating_mul(texts) / PER_EVALUATION;
    1 + node.alternatives / PER_EVALUATION + matched + names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secrets(schema: &Json, values: &Json) -> Result<Vec<String>, Diagnostic> {
        let graph = SchemaGraph::build(schema).unwrap();
        secret_pointers(&graph, values).map(|found| found.into_iter().collect())
    }

    /// Returns values of 30 levels, each with the next one in its member `a`.
    fn deep() -> Json {
        (0..30).fold(json!({}), |inner, _| json!({"a": inner}))
    }

    #[test]
    fn work_that_doubles_at_every_level_is_refused() {
        let twice = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
        for schema in [
            json!({"properties": {"a": twice}}),
            json!({"additionalProperties": twice}),
            json!({"patternProperties": {"a": {"$ref": "#"}, "^a": {"$ref": "#"}}}),
            json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}], "unevaluatedProperties": false}),
        ] {
            assert_eq!(secrets(&schema, &deep()).unwrap_err().code, "TOO_LARGE", "{schema}");
            assert_eq!(secrets(&schema, &json!({"a": {"a": {}}})).unwrap(), Vec::<String>::new());
        }
    }

    #[test]
    fn many_subschemas_for_many_values_are_refused() {
        let branches: Vec<Json> = (0..1000).map(|number| json!({"minLength": number})).collect();
        let schema = json!({"items": {"anyOf": branches}});
        assert_eq!(secrets(&schema, &json!(vec!["x"; 1000])).unwrap_err().code, "TOO_LARGE");
        assert!(secrets(&schema, &json!(["x"])).is_ok());
        let patterns: serde_json::Map<String, Json> =
            (0..99).map(|n| (format!("^{n}"), json!(true))).collect();
        let names: serde_json::Map<String, Json> = (0..10_000).map(|n| (format!("{n}"), json!(1))).collect();
        let schema = json!({"patternProperties": patterns});
        assert_eq!(secrets(&schema, &Json::Object(names)).unwrap_err().code, "TOO_LARGE");
    }

    #[test]
    fn secrets_are_found_in_every_kind_of_subschema() {
        let schema = json!({
            "$defs": {"token": {"type": "string", "writeOnly": true}, "tree": {"properties": {
                "secret": {"x-secret": true}, "children": {"items": {"$ref": "#/$defs/tree"}}}}},
            "properties": {
                "plain": {"type": "string"},
                "token": {"$ref": "#/$defs/token"},
                "a/b": {"properties": {"c~d": {"writeOnly": true}}},
                "list": {"items": {"properties": {"key": {"x-secret": true}}}},
                "pair": {"prefixItems": [true, {"x-secret": true}]},
                "tree": {"$ref": "#/$defs/tree"},
            },
            "anyOf": [{"properties": {"either": {"writeOnly": true}}}, {"properties": {"either": {}}}],
            "additionalProperties": {"x-secret": true},
        });
        let values = json!({
            "plain": "p", "token": "t", "a/b": {"c~d": 1}, "list": [{"key": "k"}, {"other": 1}], "pair": [1, 2],
            "tree": {"secret": "s", "children": [{"secret": "s"}]}, "either": "e", "unknown": {"x": 1},
        });
        assert_eq!(
            secrets(&schema, &values).unwrap(),
            [
                "/a~1b/c~0d",
                "/either",
                "/list/0/key",
                "/pair/1",
                "/token",
                "/tree/children/0/secret",
                "/tree/secret",
                "/unknown"
            ]
        );
    }
}

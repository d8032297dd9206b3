//! A config schema as a graph of its subschemas, in which references are edges.
//!
//! A tree walk that follows references may visit a small schema billions of times: each of 32
//! definitions that refers to the next one twice doubles the visits. In the graph every subschema
//! is one node, so a walk can mark the nodes it has seen, and count before it walks.

use std::collections::{BTreeMap, HashMap};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use crate::commands::Diagnostic;
use crate::commands::json_pointer::escape;

/// Maximum size of a schema, in bytes of JSON.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;
/// Maximum size of a member's name, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Maximum number of regular expressions in a schema. Each is compiled whenever a config is
/// checked.
const MAX_PATTERNS: usize = 100;
/// Maximum size of a regular expression, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;
/// Maximum number of subschemas, counted with repetitions, that apply to one value.
const MAX_APPLIED: u64 = 10_000;
/// Maximum number of references and combinations on the way to a subschema of the same value.
const MAX_CHAIN: usize = 64;

/// Keywords with subschemas of the same value: lists, single ones, and maps.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SAME_SINGLE: [&str; 4] = ["if", "then", "else", "not"];
const SAME_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords with subschemas of members and elements.
const OTHER_PROPERTIES: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];
const ELEMENTS: [&str; 3] = ["items", "contains", "unevaluatedItems"];
/// Keywords with subschemas that only references reach.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Keywords that the graph cannot follow. A secret behind one of them would not be found.
const UNSUPPORTED: [&str; 5] =
    ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"];

/// Place of a subschema in a [`SchemaGraph`].
pub(super) type NodeId = usize;

/// A subschema. Boolean schemas have no node: they declare nothing.
#[derive(Default)]
pub(super) struct SchemaNode<'s> {
    /// Whether the schema marks its value as secret.
    pub(super) is_secret: bool,
    /// Whether the schema asks which members or elements its other keywords have evaluated, for
    /// which the validator evaluates them again.
    pub(super) asks_evaluated: bool,
    /// Number of alternatives that the validator compares a value with.
    pub(super) alternatives: u64,
    /// Number of regular expressions that apply to each text, or to the name of each member.
    pub(super) patterns: u64,
    /// Subschemas of the same value.
    pub(super) same: Vec<NodeId>,
    /// Subschemas of members, by name.
    pub(super) properties: BTreeMap<&'s str, NodeId>,
    /// Names of all members that `properties` declares, whatever their schema is.
    declared: Option<&'s Map<String, Json>>,
    /// Subschemas of members by pattern. Patterns are not evaluated: any of them may apply.
    pub(super) any_property: Vec<NodeId>,
    /// Subschemas of members that are not declared.
    pub(super) other_property: Vec<NodeId>,
    /// Subschema of the names of members.
    pub(super) property_names: Option<NodeId>,
    /// Subschemas of the first elements of a list.
    pub(super) prefix: Vec<Option<NodeId>>,
    /// Subschemas of elements.
    pub(super) elements: Vec<NodeId>,
    /// Number of subschemas that apply to one value, with repetitions.
    pub(super) applied: u64,
}

impl SchemaNode<'_> {
    /// Returns whether `properties` declares a member.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.declared.is_some_and(|declared| declared.contains_key(name))
    }

    /// Returns the subschemas of members and elements that have no name.
    pub(super) fn unnamed(&self) -> impl Iterator<Item = NodeId> {
        let prefix = self.prefix.iter().flatten();
        self.any_property.iter().chain(&self.other_property).chain(prefix).chain(&self.elements).copied()
    }
}

/// A config schema whose references are resolved and whose cost is bounded.
pub(super) struct SchemaGraph<'s> {
    pub(super) nodes: Vec<SchemaNode<'s>>,
    /// The schema itself; none if it is a boolean.
    pub(super) root: Option<NodeId>,
}

impl<'s> SchemaGraph<'s> {
    /// Builds the graph of a schema.
    ///
    /// # Errors
    /// Fails if the schema is too large, refers to something outside of itself, uses a keyword that
    /// cannot be followed, or applies too many subschemas to one value.
    pub(super) fn build(schema: &'s Json) -> Result<Self, Diagnostic> {
        let size = schema.to_string().len();
        if size > MAX_SCHEMA_BYTES {
            let message = format!("the schema has {size} bytes; the limit is {MAX_SCHEMA_BYTES}");
            return Err(Diagnostic::new("TOO_LARGE", "", message));
        }
        let anchors = check_parts(schema)?;
        let mut builder = GraphBuilder { schema, anchors, nodes: Vec::new(), ids: HashMap::new() };
        let root = builder.node(schema);
        let mut unread = 0;
        while let Some(next) = builder.nodes.get(unread).map(|(members, _)| *members) {
            let node = builder.read(next).map_err(|diagnostic| placed(diagnostic, schema, next))?;
            builder.nodes[unread].1 = node;
            unread += 1;
        }
        let mut nodes: Vec<SchemaNode<'s>> = builder.nodes.into_iter().map(|(_, node)| node).collect();
        let mut counted = vec![Applied::Unknown; nodes.len()];
        for id in 0..nodes.len() {
            nodes[id].applied = count_applied(&nodes, id, 0, &mut counted).map_err(refuse_applied)?.0;
        }
        Ok(Self { nodes, root })
    }
}

struct GraphBuilder<'s> {
    schema: &'s Json,
    anchors: HashMap<&'s str, &'s Json>,
    nodes: Vec<(&'s Map<String, Json>, SchemaNode<'s>)>,
    /// Nodes by the address of their schema. The document is borrowed, so addresses are stable.
    ids: HashMap<usize, NodeId>,
}

impl<'s> GraphBuilder<'s> {
    /// Returns the node of a subschema, and adds it if it is new.
    fn node(&mut self, schema: &'s Json) -> Option<NodeId> {
        let members = schema.as_object()?;
        let next = self.nodes.len();
        let id = *self.ids.entry(std::ptr::from_ref(schema).addr()).or_insert(next);
        if id == next {
            self.nodes.push((members, SchemaNode::default()));
        }
        Some(id)
    }

    fn list(&mut self, list: Option<&'s Json>) -> Vec<NodeId> {
        list.and_then(Json::as_array).into_iter().flatten().filter_map(|schema| self.node(schema)).collect()
    }

    fn map(&mut self, map: Option<&'s Json>) -> Vec<NodeId> {
        let schemas = map.and_then(Json::as_object).into_iter().flatten();
        schemas.filter_map(|(_, schema)| self.node(schema)).collect()
    }

    fn single<const N: usize>(&mut self, members: &'s Map<String, Json>, names: [&str; N]) -> Vec<NodeId> {
        names.iter().filter_map(|name| members.get(*name)).filter_map(|schema| self.node(schema)).collect()
    }

    fn read(&mut self, members: &'s Map<String, Json>) -> Result<SchemaNode<'s>, Diagnostic> {
        let mut same = self.single(members, SAME_SINGLE);
        if let Some(name) = members.get("$ref").and_then(Json::as_str) {
            let target = self.resolve(name).ok_or_else(|| unresolved(name))?;
            same.extend(self.node(target));
        }
        for keyword in SAME_LISTS {
            same.extend(self.list(members.get(keyword)));
        }
        for keyword in SAME_MAPS {
            same.extend(self.map(members.get(keyword)));
        }
        let declared = members.get("properties").and_then(Json::as_object);
        let properties = declared
            .into_iter()
            .flatten()
            .filter_map(|(name, schema)| Some((name.as_str(), self.node(schema)?)))
            .collect();
        let prefix = members.get("prefixItems").and_then(Json::as_array).into_iter().flatten();
        let length = |name: &str| match members.get(name) {
            Some(Json::Array(list)) => list.len() as u64,
            Some(Json::Object(map)) => map.len() as u64,
            _ => 0,
        };
        Ok(SchemaNode {
            is_secret: marks_secret(members),
            asks_evaluated: ["unevaluatedProperties", "unevaluatedItems"]
                .iter()
                .any(|name| members.contains_key(*name)),
            alternatives: ["enum", "required", "properties", "dependentRequired"].map(length).iter().sum(),
            patterns: u64::from(members.contains_key("pattern"))
                + u64::from(members.contains_key("format"))
                + length("patternProperties"),
            same,
            properties,
            declared,
            any_property: self.map(members.get("patternProperties")),
            other_property: self.single(members, OTHER_PROPERTIES),
            property_names: members.get("propertyNames").and_then(|schema| self.node(schema)),
            prefix: prefix.map(|schema| self.node(schema)).collect(),
            elements: self.single(members, ELEMENTS),
            applied: 0,
        })
    }

    /// Resolves a reference within the document: a JSON pointer, or an anchor.
    fn resolve(&self, reference: &str) -> Option<&'s Json> {
        let local = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
        if local.is_empty() || local.starts_with('/') {
            return self.schema.pointer(&local);
        }
        self.anchors.get(local.as_ref()).copied()
    }
}

/// Returns whether a schema marks its value as secret.
fn marks_secret(members: &Map<String, Json>) -> bool {
    ["writeOnly", "x-secret"].iter().any(|mark| members.get(*mark) == Some(&Json::Bool(true)))
}

fn unresolved(reference: &str) -> Diagnostic {
    let shown: String = reference.chars().take(100).collect();
    let message = format!("$ref {shown:?} leads nowhere: refer to this schema, such as #/$defs/name");
    Diagnostic::new("UNKNOWN_REFERENCE", "/$ref", message)
}

/// Checks every subschema for what the graph cannot follow and what costs too much. Returns the
/// subschemas with an anchor.
fn check_parts(schema: &Json) -> Result<HashMap<&str, &Json>, Diagnostic> {
    let mut anchors = HashMap::new();
    let mut patterns = 0;
    let mut open = vec![schema];
    while let Some(part) = open.pop() {
        let Json::Object(members) = part else { continue };
        let is_root = std::ptr::eq(part, schema);
        check_part(members, is_root, &mut patterns)
            .map_err(|diagnostic| placed(diagnostic, schema, members))?;
        if let Some(anchor) = members.get("$anchor").and_then(Json::as_str) {
            anchors.insert(anchor, part);
        }
        open.extend(subschemas(members));
    }
    Ok(anchors)
}

fn check_part(members: &Map<String, Json>, is_root: bool, patterns: &mut usize) -> Result<(), Diagnostic> {
    let too_large = |message| Err(Diagnostic::new("TOO_LARGE", "", message));
    let unsupported = UNSUPPORTED.iter().copied().chain((!is_root).then_some("$id"));
    if let Some(name) = unsupported.into_iter().find(|name| members.contains_key(*name)) {
        let message = format!("{name} is not supported in config schemas: use $ref and $defs");
        return Err(Diagnostic::new("UNSUPPORTED", format!("/{name}"), message));
    }
    let maps = ["properties", "patternProperties"].iter().filter_map(|name| members.get(*name)?.as_object());
    let longest = maps.flat_map(Map::keys).map(String::len).max().unwrap_or(0);
    if longest > MAX_NAME_BYTES {
        return too_large(format!("a name has {longest} bytes; the limit is {MAX_NAME_BYTES}"));
    }
    let pattern = members.get("pattern").and_then(Json::as_str).map(str::len);
    if let Some(length) = pattern.filter(|length| *length > MAX_PATTERN_BYTES) {
        return too_large(format!("the pattern has {length} bytes; the limit is {MAX_PATTERN_BYTES}"));
    }
    let by_name = members.get("patternProperties").and_then(Json::as_object).map_or(0, Map::len);
    *patterns += by_name + usize::from(pattern.is_some());
    if *patterns > MAX_PATTERNS {
        return too_large(format!("the schema has more than {MAX_PATTERNS} patterns"));
    }
    Ok(())
}

/// Returns the subschemas that are written in a schema.
fn subschemas(members: &Map<String, Json>) -> impl Iterator<Item = &Json> {
    let get = |name: &'static str| members.get(name);
    let lists = SAME_LISTS.into_iter().chain(["prefixItems"]).filter_map(get);
    let maps = SAME_MAPS.into_iter().chain(DEFINITIONS).chain(["properties", "patternProperties"]);
    let singles = SAME_SINGLE.into_iter().chain(OTHER_PROPERTIES).chain(ELEMENTS).chain(["propertyNames"]);
    lists
        .filter_map(Json::as_array)
        .flatten()
        .chain(maps.filter_map(get).filter_map(Json::as_object).flat_map(Map::values))
        .chain(singles.filter_map(get))
}

/// Returns the diagnostic of a subschema with its pointer in the document. The pointer is looked up
/// only here: most schemas have no problem.
fn placed(diagnostic: Diagnostic, schema: &Json, members: &Map<String, Json>) -> Diagnostic {
    let place = pointer_of(schema, members).unwrap_or_default();
    Diagnostic { pointer: place + &diagnostic.pointer, ..diagnostic }
}

fn pointer_of(part: &Json, wanted: &Map<String, Json>) -> Option<String> {
    match part {
        Json::Object(members) if std::ptr::eq(members, wanted) => Some(String::new()),
        Json::Object(members) => members
            .iter()
            .find_map(|(name, member)| Some(format!("/{}{}", escape(name), pointer_of(member, wanted)?))),
        Json::Array(elements) => elements
            .iter()
            .enumerate()
            .find_map(|(index, element)| Some(format!("/{index}{}", pointer_of(element, wanted)?))),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}

#[derive(Clone, Copy)]
enum Applied {
    Unknown,
    /// On the way to the node that is being counted.
    Open,
    /// Number of applied subschemas, and length of the longest chain.
    Known(u64, usize),
}

enum AppliedError {
    Endless,
    TooMany,
    TooLong,
}

/// Counts the subschemas that a node applies to one value, itself included and with repetitions.
fn count_applied(
    nodes: &[SchemaNode<'_>],
    id: NodeId,
    depth: usize,
    counted: &mut [Applied],
) -> Result<(u64, usize), AppliedError> {
    match counted[id] {
        Applied::Known(count, chain) => return Ok((count, chain)),
        Applied::Open => return Err(AppliedError::Endless),
        Applied::Unknown => {}
    }
    // Bounds the recursion. A longer chain is refused anyway.
    if depth > MAX_CHAIN {
        return Err(AppliedError::TooLong);
    }
    counted[id] = Applied::Open;
    let (mut count, mut longest) = (1_u64, 0);
    for next in &nodes[id].same {
        let (applied, chain) = count_applied(nodes, *next, depth + 1, counted)?;
        count = count.saturating_add(applied);
        longest = longest.max(chain + 1);
    }
    if longest > MAX_CHAIN {
        return Err(AppliedError::TooLong);
    }
    if count > MAX_APPLIED {
        return Err(AppliedError::TooMany);
    }
    counted[id] = Applied::Known(count, longest);
    Ok((count, longest))
}

fn refuse_applied(error: AppliedError) -> Diagnostic {
    let message = match error {
        AppliedError::Endless => {
            "the schema refers to itself for the same value, so that checking it would never end".to_owned()
        }
        AppliedError::TooMany => format!(
            "references and combinations apply more than {MAX_APPLIED} subschemas to one value: simplify them"
        ),
        AppliedError::TooLong => {
            format!("more than {MAX_CHAIN} references and combinations follow each other: simplify them")
        }
    };
    Diagnostic::new("TOO_LARGE", "", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(schema: &Json) -> Diagnostic {
        SchemaGraph::build(schema).err().unwrap()
    }

    #[test]
    fn schema_that_never_ends_is_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
            json!({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"not": {"$ref": "#/$defs/b"}}}}),
        ] {
            assert!(refusal(&schema).message.contains("refers to itself"), "{schema}");
        }
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        assert!(SchemaGraph::build(&tree).is_ok());
    }

    #[test]
    fn references_that_multiply_are_refused() {
        let mut definitions: Map<String, Json> = (0..30)
            .map(|level| {
                let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
                (format!("d{level}"), json!({"allOf": [next, next]}))
            })
            .collect();
        definitions.insert("d30".to_owned(), json!({}));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
        assert!(refusal(&schema).message.contains("10000 subschemas"), "{}", refusal(&schema).message);
    }

    #[test]
    fn long_chain_of_references_is_refused() {
        let mut definitions: Map<String, Json> = (0..5000)
            .map(|level| (format!("d{level}"), json!({"$ref": format!("#/$defs/d{}", level + 1)})))
            .collect();
        definitions.insert("d5000".to_owned(), json!({}));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
        assert!(refusal(&schema).message.contains("follow each other"));
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_its_pointer() {
        for (schema, code, pointer) in [
            (json!({"items": {"$dynamicRef": "#x"}}), "UNSUPPORTED", "/items/$dynamicRef"),
            (json!({"items": {"$id": "https://a.test/b"}}), "UNSUPPORTED", "/items/$id"),
            (json!({"$ref": "https://example.com/schema.json"}), "UNKNOWN_REFERENCE", "/$ref"),
            (json!({"not": {"$ref": "#/$defs/none"}}), "UNKNOWN_REFERENCE", "/not/$ref"),
            (json!({"items": {"properties": {"x".repeat(300): {}}}}), "TOO_LARGE", "/items"),
            (json!({"pattern": "x".repeat(2000)}), "TOO_LARGE", ""),
            (json!({"description": "x".repeat(300_000)}), "TOO_LARGE", ""),
        ] {
            let found = refusal(&schema);
            assert_eq!((found.code, found.pointer.as_str()), (code, pointer), "{}", found.message);
        }
        // Members of the config, and examples of it, may have the name of a keyword.
        let named = json!({
            "$id": "https://a.test", "examples": [{"$id": "x"}],
            "properties": {"$dynamicRef": {"type": "string"}, "$id": {"$ref": "#there"}},
            "$defs": {"a%b": {"$anchor": "there", "$ref": "#/$defs/c"}, "c": {"$ref": "#/$defs/d%25"}, "d%": {}},
        });
        assert!(SchemaGraph::build(&named).is_ok());
    }
}

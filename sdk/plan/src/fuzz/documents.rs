//! Fuzzes plan documents: the golden cases, with pieces of other cases in the wrong places.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{Definition, Diagnostic, Scope, ScopeName, ServerLimits, Step, check};

/// All plans of the golden cases.
static CORPUS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let mut plans: Vec<_> = std::fs::read_dir(cases)
        .expect("the cases are there")
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("plan.json")).ok())
        .map(|plan| serde_json::from_slice(&plan).expect("a plan is JSON"))
        .collect();
    plans.sort_by_key(Value::to_string);
    assert!(plans.len() > 100, "{} plans", plans.len());
    plans
});

/// All values of all plans, each with its member name.
static PIECES: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    fn visit(name: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        found.push((name.to_owned(), value.clone()));
        match value {
            Value::Object(members) => members.iter().for_each(|(name, member)| visit(name, member, found)),
            Value::Array(items) => items.iter().for_each(|item| visit(name, item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    CORPUS.iter().for_each(|plan| visit("", plan, &mut found));
    found.sort_by_key(|(name, value)| (name.clone(), value.to_string()));
    found.dedup();
    found
});

/// A mutation of one value of a document.
#[derive(Debug, Clone)]
enum DocumentMutation {
    /// Replaces the value with one of any plan.
    Replace(usize),
    /// Replaces the value with one of the same name.
    Exchange(usize),
    /// Inserts a member of any plan.
    Insert(usize),
    Remove,
    /// Renames the member.
    Rename(usize),
    Duplicate,
    /// Wraps the value in a list, or in an object under this name.
    Wrap(Option<usize>),
    ReplaceWithOdd(Value),
    /// Removes a character of a text.
    RemoveChar(usize),
    /// Inserts a character into a text.
    InsertChar(usize, char),
}

fn mutation() -> impl Strategy<Value = DocumentMutation> {
    let odd = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(""),
        json!("{{"),
        json!("}}"),
        json!("{{ root() }}"),
        json!("response.body"),
        json!("`"),
        json!(0),
        json!(-1),
        json!(0.5),
        json!(u64::MAX),
        json!(1e300),
        json!([]),
        json!({}),
        json!("\u{0}\u{fffd}é"),
        json!("x".repeat(5000)),
    ]);
    prop_oneof![
        4 => any::<usize>().prop_map(DocumentMutation::Replace),
        4 => any::<usize>().prop_map(DocumentMutation::Exchange),
        4 => any::<usize>().prop_map(DocumentMutation::Insert),
        2 => Just(DocumentMutation::Remove),
        2 => any::<usize>().prop_map(DocumentMutation::Rename),
        1 => Just(DocumentMutation::Duplicate),
        1 => prop::option::of(any::<usize>()).prop_map(DocumentMutation::Wrap),
        3 => odd.prop_map(DocumentMutation::ReplaceWithOdd),
        3 => any::<usize>().prop_map(DocumentMutation::RemoveChar),
        3 => (any::<usize>(), prop::sample::select(vec!['{', '}', '`', '\'', '"', '.', '(', '!', ' ', 'é', '\n'])).prop_map(|(at, what)| DocumentMutation::InsertChar(at, what)),
    ]
}

/// Collects the JSON pointers of all values of a document.
fn collect_pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let token = name.replace('~', "~0").replace('/', "~1");
                collect_pointers(member, &format!("{pointer}/{token}"), found);
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| collect_pointers(item, &format!("{pointer}/{index}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn apply(document: &mut Value, index: usize, mutation: &DocumentMutation) {
    let mut all = Vec::new();
    collect_pointers(document, "", &mut all);
    let pointer = all[index % all.len()].clone();
    let name = pointer.rsplit('/').next().unwrap_or_default().to_owned();
    let piece = |which: usize| PIECES[which % PIECES.len()].clone();
    if let DocumentMutation::Remove | DocumentMutation::Rename(_) | DocumentMutation::Duplicate = mutation {
        let Some((parent, _)) = pointer.rsplit_once('/') else { return };
        match (document.pointer_mut(parent), mutation) {
            (Some(Value::Object(members)), DocumentMutation::Rename(which)) => {
                let value = members.remove(&name).unwrap_or_default();
                members.insert(piece(*which).0, value);
            }
            (Some(Value::Object(members)), _) => drop(members.remove(&name)),
            (Some(Value::Array(items)), DocumentMutation::Duplicate) => items.extend(items.clone()),
            (Some(Value::Array(items)), _) => drop(items.pop()),
            _ => {}
        }
        return;
    }
    let Some(value) = document.pointer_mut(&pointer) else { return };
    match mutation {
        DocumentMutation::Replace(which) => *value = piece(*which).1,
        DocumentMutation::Exchange(which) => {
            let same: Vec<&Value> =
                PIECES.iter().filter(|(known, _)| *known == name).map(|(_, value)| value).collect();
            if let Some(other) = same.get(which % same.len().max(1)) {
                *value = (*other).clone();
            }
        }
        DocumentMutation::Insert(which) => {
            let (name, piece) = piece(*which);
            match value {
                Value::Object(members) => drop(members.insert(name, piece)),
                Value::Array(items) => items.push(piece),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        DocumentMutation::Wrap(None) => *value = json!([value.take()]),
        DocumentMutation::Wrap(Some(which)) => {
            *value = Value::Object(Map::from_iter([(piece(*which).0, value.take())]))
        }
        DocumentMutation::ReplaceWithOdd(odd) => *value = odd.clone(),
        DocumentMutation::RemoveChar(at) | DocumentMutation::InsertChar(at, _) => {
            if let Value::String(text) = value {
                let mut characters: Vec<char> = text.chars().collect();
                match mutation {
                    DocumentMutation::InsertChar(_, what) => {
                        characters.insert(at % (characters.len() + 1), *what)
                    }
                    _ if characters.is_empty() => {}
                    _ => drop(characters.remove(at % characters.len())),
                }
                *text = characters.into_iter().collect();
            }
        }
        DocumentMutation::Remove | DocumentMutation::Rename(_) | DocumentMutation::Duplicate => {}
    }
}

/// Checks that a diagnostic points to a value of the document, and its position into that text.
fn points_into(document: &Value, diagnostic: &Diagnostic) -> Result<(), String> {
    let value = document.pointer(&diagnostic.pointer).ok_or("its pointer does not resolve")?;
    if let Some(position) = diagnostic.position {
        let text = value.as_str().ok_or("it has a position in a value that is not text")?;
        text.get(position..).ok_or("its position is outside the text")?;
    }
    let badly_worded = diagnostic.message.is_empty() || diagnostic.message.ends_with('.');
    if badly_worded { Err("its message is empty or ends with a full stop".to_owned()) } else { Ok(()) }
}

/// Renders and evaluates everything in a definition, on an empty scope and on a full one.
fn run_all(definition: &Definition) {
    let env = crate::template::tests::env();
    let response = crate::Value::parse(
        br#"{"status_code":200,"headers":{"etag":"e"},"body":{"rows":[{"id":1},{"id":2.5}],"next":"b"},"url":"https://api.example.com/"}"#,
    );
    let response = response.expect("it is JSON");
    let full = crate::template::tests::scope()
        .with(ScopeName::Response, response.clone())
        .with(ScopeName::Parent, response)
        .with(ScopeName::Item, crate::Value::from(7_u64));
    definition.steps.iter().for_each(|step| run_step(step, &[&Scope::new(), &full], &env));
}

fn run_step(step: &Step, scopes: &[&Scope], env: &crate::EvalEnv) {
    for scope in scopes {
        if let Some(request) = step.request() {
            let _rendered = request.render(scope, env);
        }
        for site in step.exprs() {
            let _value = site.expr.eval(scope, env);
        }
    }
    step.below().for_each(|below| run_step(below, scopes, env));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_runs_or_is_refused_with_valid_pointers(
        base in any::<usize>(), mutations in prop::collection::vec((any::<usize>(), mutation()), 0..6),
    ) {
        let mut document = CORPUS[base % CORPUS.len()].clone();
        mutations.iter().for_each(|(index, mutation)| apply(&mut document, *index, mutation));
        match check(&document, &ServerLimits::default()) {
            Ok(plan) => run_all(&plan.definition),
            Err(diagnostics) => {
                prop_assert!((1..=200).contains(&diagnostics.0.len()), "{} diagnostics", diagnostics.0.len());
                for diagnostic in &diagnostics.0 {
                    let points = points_into(&document, diagnostic);
                    prop_assert!(points.is_ok(), "{:?}: {} in {}", points, diagnostic, document);
                }
            }
        }
    }
}

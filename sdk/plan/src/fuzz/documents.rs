//! Plan documents: those of the golden cases with pieces of each other in the wrong places.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{Definition, Diagnostic, Scope, ScopeName, ServerLimits, Step, check};

/// Every plan of the golden cases.
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

/// Every value of every plan, with the name that it stands under.
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

/// What is done to one place of a document.
#[derive(Debug, Clone)]
enum Change {
    /// Another value out of any plan.
    Replace(usize),
    /// The value under the same name out of any plan.
    Exchange(usize),
    /// A member more, out of any plan.
    Insert(usize),
    Remove,
    /// A member under the name of another.
    Rename(usize),
    Twice,
    /// In a list, or in an object under this name.
    Wrap(Option<usize>),
    Odd(Value),
    /// A text with a character less or more.
    Cut(usize),
    Put(usize, char),
}

fn change() -> impl Strategy<Value = Change> {
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
        4 => any::<usize>().prop_map(Change::Replace),
        4 => any::<usize>().prop_map(Change::Exchange),
        4 => any::<usize>().prop_map(Change::Insert),
        2 => Just(Change::Remove),
        2 => any::<usize>().prop_map(Change::Rename),
        1 => Just(Change::Twice),
        1 => prop::option::of(any::<usize>()).prop_map(Change::Wrap),
        3 => odd.prop_map(Change::Odd),
        3 => any::<usize>().prop_map(Change::Cut),
        3 => (any::<usize>(), prop::sample::select(vec!['{', '}', '`', '\'', '"', '.', '(', '!', ' ', 'é', '\n'])).prop_map(|(at, what)| Change::Put(at, what)),
    ]
}

/// All places of a document, as JSON pointers.
fn places(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let token = name.replace('~', "~0").replace('/', "~1");
                places(member, &format!("{pointer}/{token}"), found);
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(place, item)| places(item, &format!("{pointer}/{place}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn apply(document: &mut Value, place: usize, change: &Change) {
    let mut all = Vec::new();
    places(document, "", &mut all);
    let pointer = all[place % all.len()].clone();
    let name = pointer.rsplit('/').next().unwrap_or_default().to_owned();
    let piece = |which: usize| PIECES[which % PIECES.len()].clone();
    if let Change::Remove | Change::Rename(_) | Change::Twice = change {
        let Some((around, _)) = pointer.rsplit_once('/') else { return };
        match (document.pointer_mut(around), change) {
            (Some(Value::Object(members)), Change::Rename(which)) => {
                let value = members.remove(&name).unwrap_or_default();
                members.insert(piece(*which).0, value);
            }
            (Some(Value::Object(members)), _) => drop(members.remove(&name)),
            (Some(Value::Array(items)), Change::Twice) => items.extend(items.clone()),
            (Some(Value::Array(items)), _) => drop(items.pop()),
            _ => {}
        }
        return;
    }
    let Some(value) = document.pointer_mut(&pointer) else { return };
    match change {
        Change::Replace(which) => *value = piece(*which).1,
        Change::Exchange(which) => {
            let same: Vec<&Value> =
                PIECES.iter().filter(|(known, _)| *known == name).map(|(_, value)| value).collect();
            if let Some(other) = same.get(which % same.len().max(1)) {
                *value = (*other).clone();
            }
        }
        Change::Insert(which) => {
            let (name, piece) = piece(*which);
            match value {
                Value::Object(members) => drop(members.insert(name, piece)),
                Value::Array(items) => items.push(piece),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        Change::Wrap(None) => *value = json!([value.take()]),
        Change::Wrap(Some(which)) => {
            *value = Value::Object(Map::from_iter([(piece(*which).0, value.take())]))
        }
        Change::Odd(odd) => *value = odd.clone(),
        Change::Cut(at) | Change::Put(at, _) => {
            if let Value::String(text) = value {
                let mut characters: Vec<char> = text.chars().collect();
                match change {
                    Change::Put(_, what) => characters.insert(at % (characters.len() + 1), *what),
                    _ if characters.is_empty() => {}
                    _ => drop(characters.remove(at % characters.len())),
                }
                *text = characters.into_iter().collect();
            }
        }
        Change::Remove | Change::Rename(_) | Change::Twice => {}
    }
}

/// A fault leads to a place of the document, and inside of texts to a position in them.
fn leads_somewhere(document: &Value, diagnostic: &Diagnostic) -> Result<(), String> {
    let value = document.pointer(&diagnostic.pointer).ok_or("its pointer leads nowhere")?;
    if let Some(position) = diagnostic.position {
        let text = value.as_str().ok_or("it has a position in what is no text")?;
        text.get(position..).ok_or("its position is not in the text")?;
    }
    let words = diagnostic.message.is_empty() || diagnostic.message.ends_with('.');
    if words { Err("it says nothing, or too much".to_owned()) } else { Ok(()) }
}

/// Everything that a definition runs is run once, on values that are there and on none.
fn runs(definition: &Definition) {
    let env = crate::template::tests::env();
    let response = crate::Value::parse(
        br#"{"status_code":200,"headers":{"etag":"e"},"body":{"rows":[{"id":1},{"id":2.5}],"next":"b"},"url":"https://api.example.com/"}"#,
    );
    let response = response.expect("it is JSON");
    let full = crate::template::tests::scope()
        .with(ScopeName::Response, response.clone())
        .with(ScopeName::Parent, response)
        .with(ScopeName::Item, crate::Value::from(7_u64));
    definition.steps.iter().for_each(|step| runs_in(step, &[&Scope::new(), &full], &env));
}

fn runs_in(step: &Step, scopes: &[&Scope], env: &crate::EvalEnv) {
    for scope in scopes {
        if let Some(request) = step.request() {
            let _rendered = request.render(scope, env);
        }
        for sited in step.exprs() {
            let _value = sited.expr.eval(scope, env);
        }
    }
    step.below().for_each(|below| runs_in(below, scopes, env));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_is_taken_and_runs_or_is_refused_with_faults_that_lead_somewhere(
        base in any::<usize>(), changes in prop::collection::vec((any::<usize>(), change()), 0..6),
    ) {
        let mut document = CORPUS[base % CORPUS.len()].clone();
        changes.iter().for_each(|(place, change)| apply(&mut document, *place, change));
        match check(&document, &ServerLimits::default()) {
            Ok(plan) => runs(&plan.definition),
            Err(diagnostics) => {
                prop_assert!((1..=200).contains(&diagnostics.0.len()), "{} faults", diagnostics.0.len());
                for diagnostic in &diagnostics.0 {
                    let leads = leads_somewhere(&document, diagnostic);
                    prop_assert!(leads.is_ok(), "{:?}: {} in {}", leads, diagnostic, document);
                }
            }
        }
    }
}

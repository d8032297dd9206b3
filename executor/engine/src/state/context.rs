//! The context: values that outlive the execution. A write that exceeds a limit is an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_common::limits::{CONTEXT_FIELD_MAX_BYTES, CONTEXT_MAX_BYTES};
use orchid_plan::Value;

/// A context field as value and as JSON, whose digits stay exact.
#[derive(Clone)]
pub(crate) struct ContextField {
    pub(crate) value: Value,
    pub(crate) json: Bytes,
}

/// All context fields of an execution. Clones share them.
#[derive(Clone)]
pub(crate) struct Context {
    fields: Arc<BTreeMap<String, ContextField>>,
    /// All fields as one object, for expressions.
    object: Value,
}

/// A write that would leave the context too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContextTooLarge {
    #[error("context field {name:?} would be {size} bytes of JSON, more than {CONTEXT_FIELD_MAX_BYTES}")]
    Field { name: String, size: usize },
    #[error(
        "context field {name:?} would take the whole context to {size} bytes, more than {CONTEXT_MAX_BYTES}"
    )]
    Total { name: String, size: usize },
}

impl ContextTooLarge {
    /// Returns the field that exceeds the limit.
    pub(crate) fn field(&self) -> &str {
        match self {
            Self::Field { name, .. } | Self::Total { name, .. } => name,
        }
    }
}

/// Changed fields; `None` for a removed one.
pub(crate) type ContextChanges = Vec<(String, Option<Bytes>)>;

/// Appends later changes; they replace earlier ones of the same field.
pub(crate) fn append(changes: &mut ContextChanges, later: &mut ContextChanges) {
    if later.is_empty() {
        return;
    }
    changes.retain(|(name, _)| later.iter().all(|(changed, _)| changed != name));
    changes.append(later);
}

impl Context {
    /// Reads the context that the attempt begins with.
    ///
    /// # Errors
    /// If a field is not JSON: its name and the reason.
    pub(crate) fn read(fields: BTreeMap<String, Bytes>) -> Result<Self, (String, String)> {
        let mut read = BTreeMap::new();
        for (name, json) in fields {
            match Value::parse(&json) {
                Ok(value) => {
                    read.insert(name, ContextField { value, json });
                }
                Err(error) => return Err((name, error.to_string())),
            }
        }
        let mut context = Self { fields: Arc::new(read), object: Value::null() };
        context.refresh();
        Ok(context)
    }

    /// Returns the JSON of a field.
    pub(crate) fn json(&self, name: &str) -> Option<&Bytes> {
        self.fields.get(name).map(|field| &field.json)
    }

    /// Returns all fields as one object.
    pub(crate) fn object(&self) -> &Value {
        &self.object
    }

    /// Applies writes, of which null removes a field. Returns the new context and the actual
    /// changes: writing the value that a field already has is none.
    ///
    /// # Errors
    /// If a field or the whole context becomes too large. Only the result counts: a field that is
    /// removed makes room for another one, in whatever order their names are.
    pub(crate) fn with(
        &self,
        writes: Vec<(String, ContextField)>,
    ) -> Result<(Context, ContextChanges), ContextTooLarge> {
        let mut next = self.clone();
        let mut changes = ContextChanges::new();
        let mut grown = Vec::new();
        for (name, ContextField { value, json }) in writes {
            if value.is_null() {
                if next.fields.contains_key(&name) {
                    Arc::make_mut(&mut next.fields).remove(&name);
                    changes.push((name, None));
                }
                continue;
            }
            if json.len() > CONTEXT_FIELD_MAX_BYTES {
                return Err(ContextTooLarge::Field { name, size: json.len() });
            }
            if next.fields.get(&name).is_some_and(|field| field.json == json) {
                continue;
            }
            // The map is copied on the first change only: rows and items share it until they write.
            let field = ContextField { value, json: json.clone() };
            let before = Arc::make_mut(&mut next.fields).insert(name.clone(), field);
            let before = before.map_or(0, |field| name.len() + field.json.len());
            grown.push((name.clone(), (name.len() + json.len()).saturating_sub(before)));
            changes.push((name, Some(json)));
        }
        let size = next.size();
        if size > CONTEXT_MAX_BYTES && !grown.is_empty() {
            return Err(ContextTooLarge::Total { name: exceeding(grown, size), size });
        }
        if !changes.is_empty() {
            next.refresh();
        }
        Ok((next, changes))
    }

    /// Applies changes that were made to another context. Returns what they change in this one.
    ///
    /// # Errors
    /// If a field or the whole context becomes too large.
    pub(crate) fn with_changes(
        &self,
        changes: ContextChanges,
    ) -> Result<(Context, ContextChanges), ContextTooLarge> {
        let writes = changes.into_iter().map(|(name, json)| {
            let json = json.unwrap_or_else(|| Bytes::from_static(b"null"));
            // The JSON was valid in the other context, so parsing cannot fail.
            let value = Value::parse(&json).unwrap_or_else(|_| Value::null());
            (name, ContextField { value, json })
        });
        self.with(writes.collect())
    }

    fn size(&self) -> usize {
        self.fields.iter().map(|(name, field)| name.len() + field.json.len()).sum()
    }

    fn refresh(&mut self) {
        self.object =
            Value::object(self.fields.iter().map(|(name, field)| (name.as_str(), field.value.clone())));
    }
}

/// Returns the first of the written fields, with the bytes by which each grew, that takes the
/// context beyond its limit.
fn exceeding(grown: Vec<(String, usize)>, size: usize) -> String {
    let growth: usize = grown.iter().map(|(_, bytes)| bytes).sum();
    let mut total = size.saturating_sub(growth);
    let mut last = String::new();
    for (name, bytes) in grown {
        total += bytes;
        last = name;
        if total > CONTEXT_MAX_BYTES {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::read(BTreeMap::from([("a".to_owned(), Bytes::from_static(b"1"))])).unwrap()
    }

    fn text(length: usize) -> ContextField {
        field(Value::from("x".repeat(length)))
    }

    fn field(value: Value) -> ContextField {
        ContextField { json: value.to_json().into(), value }
    }

    #[test]
    fn null_removes_and_equal_values_change_nothing() {
        let (next, changes) = context().with(vec![("a".into(), field(Value::from(1_i64)))]).unwrap();
        assert_eq!((changes, next.object().member("a")), (vec![], Value::from(1_i64)));
        let (next, changes) =
            next.with(vec![("a".into(), field(Value::null())), ("b".into(), field(Value::null()))]).unwrap();
        assert_eq!((changes, next.object().length()), (vec![("a".to_owned(), None)], Some(0)));
    }

    #[test]
    fn field_is_limited_to_64_kib() {
        assert!(context().with(vec![("b".into(), text(CONTEXT_FIELD_MAX_BYTES - 2))]).is_ok());
        let error = context().with(vec![("b".into(), text(CONTEXT_FIELD_MAX_BYTES - 1))]).err().unwrap();
        assert_eq!(error, ContextTooLarge::Field { name: "b".into(), size: CONTEXT_FIELD_MAX_BYTES + 1 });
    }

    #[test]
    fn field_that_exceeds_the_total_is_named() {
        let writes = (0..17).map(|n| (format!("f{n:02}"), text(CONTEXT_FIELD_MAX_BYTES - 2))).collect();
        let error = context().with(writes).err().unwrap();
        assert_eq!(error.field(), "f15");
    }

    #[test]
    fn removed_field_makes_room_in_any_order() {
        let large = || text(CONTEXT_FIELD_MAX_BYTES - 2);
        let full: Vec<_> = (0..14).map(|n| (format!("m{n:02}"), large())).collect();
        let (full, _) = context().with(full).unwrap();
        for [first, second] in [["a0", "a1"], ["z0", "z1"]] {
            let added = vec![(first.to_owned(), large()), (second.to_owned(), large())];
            assert!(full.with(added.clone()).is_err());
            let removed = vec![("m07".to_owned(), field(Value::null()))];
            // Writes come in the order of their names.
            let writes = if first < "m07" { [added, removed].concat() } else { [removed, added].concat() };
            assert!(full.with(writes).is_ok(), "{first} and {second}");
        }
    }

    #[test]
    fn field_that_is_not_json_is_refused_by_name() {
        let fields = BTreeMap::from([("bad".to_owned(), Bytes::from_static(b"{"))]);
        assert_eq!(Context::read(fields).err().unwrap().0, "bad");
    }
}

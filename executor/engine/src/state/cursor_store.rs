//! The cursors and validators that are stored for the plan and config, with the changes of this
//! execution.
//!
//! The limits are those of the control plane, so that an execution ends with a named limit before
//! the control plane would refuse its checkpoint.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_common::limits::{CURSORS_MAX, CURSORS_MAX_BYTES};

use crate::attempt::CursorKey;
use crate::error::ErrorClass;
use crate::state::error_detail::ErrorDetail;

/// Cursors and validators that changed: the newest value of each.
pub(crate) type CursorValues = BTreeMap<CursorKey, Bytes>;

/// Stored cursors and validators, and their changes.
#[derive(Default)]
pub(crate) struct CursorStore {
    /// Values at the start of the attempt.
    began: CursorValues,
    /// Values that this attempt changed.
    changed: CursorValues,
    count: usize,
    bytes: usize,
}

impl CursorStore {
    pub(crate) fn new(began: CursorValues) -> Self {
        let bytes = began.iter().map(|(key, json)| size(key, json)).sum();
        Self { count: began.len(), bytes, began, changed: CursorValues::new() }
    }

    /// Returns the value at the start of the attempt, from which every page or row with this key
    /// begins.
    pub(crate) fn began(&self, key: &CursorKey) -> Option<&Bytes> {
        self.began.get(key)
    }

    /// Returns the current value.
    pub(crate) fn now(&self, key: &CursorKey) -> Option<&Bytes> {
        self.changed.get(key).or_else(|| self.began.get(key))
    }

    /// Stores a new value. `pointer` is that of the plan field that sets it.
    ///
    /// # Errors
    /// If there would be too many cursors or too many bytes.
    pub(crate) fn insert(
        &mut self,
        key: &CursorKey,
        json: &Bytes,
        pointer: impl FnOnce() -> String,
    ) -> Result<(), ErrorDetail> {
        let before = self.now(key).map_or(0, |before| size(key, before));
        // An entry is never empty, so a size of 0 means that the key is new.
        let (count, bytes) = (self.count + usize::from(before == 0), self.bytes - before + size(key, json));
        // Only growth is refused: a store that is over the limit already may still be updated.
        if before < size(key, json) && (count > CURSORS_MAX || bytes > CURSORS_MAX_BYTES) {
            let message = format!(
                "the plan would keep {count} cursors and validators of {bytes} bytes for this config, more than {CURSORS_MAX} or \
                 {CURSORS_MAX_BYTES} bytes"
            );
            return Err(ErrorDetail {
                class: ErrorClass::Limit,
                code: "TOO_MANY_CURSORS",
                pointer: pointer(),
                message,
            });
        }
        (self.count, self.bytes) = (count, bytes);
        self.changed.insert(key.clone(), json.clone());
        Ok(())
    }
}

/// Returns the bytes that count towards the limit.
fn size(key: &CursorKey, json: &Bytes) -> usize {
    key.step.len() + key.item.len() + json.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::CursorKind;

    fn key(item: impl ToString) -> CursorKey {
        CursorKey { kind: CursorKind::Cursor, step: "orders".to_owned(), item: item.to_string() }
    }

    #[test]
    fn number_of_cursors_is_limited() {
        let mut kept =
            CursorStore::new((1..CURSORS_MAX).map(|n| (key(n), Bytes::from_static(b"1"))).collect());
        let mut insert =
            |item: usize| kept.insert(&key(item), &Bytes::from_static(b"2"), || "/at".to_owned());
        assert!(insert(CURSORS_MAX).is_ok());
        let what = insert(CURSORS_MAX + 1).unwrap_err();
        assert_eq!((what.code, what.pointer.as_str()), ("TOO_MANY_CURSORS", "/at"));
        assert!(insert(7).is_ok(), "an existing cursor may change");
        assert!(kept.now(&key(CURSORS_MAX + 1)).is_none());
        assert_eq!(
            (kept.began(&key(7)).unwrap(), kept.now(&key(7)).unwrap()),
            (&Bytes::from_static(b"1"), &Bytes::from_static(b"2"))
        );
    }

    #[test]
    fn total_size_of_cursors_is_limited() {
        let mut kept = CursorStore::default();
        let fills = Bytes::from(vec![b'1'; CURSORS_MAX_BYTES - "orders".len() - 1]);
        assert!(kept.insert(&key(1), &fills, String::new).is_ok());
        assert!(kept.insert(&key(2), &Bytes::from_static(b"1"), String::new).is_err());
        assert!(kept.insert(&key(1), &Bytes::from_static(b"1"), String::new).is_ok());
        assert!(kept.insert(&key(2), &Bytes::from_static(b"1"), String::new).is_ok(), "there is room again");
    }
}

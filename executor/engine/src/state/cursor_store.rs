//! What the plan keeps for the config outside its context: cursors and validators as they stand in the database, with what
//! this run changed. Bounded as the control plane bounds them, so that a run ends by a limit's name before its checkpoint is
//! refused.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::attempt::CursorKey;
use crate::error::ErrorClass;
use crate::state::error_detail::ErrorDetail;
use orchid_common::limits::{CURSORS_MAX, CURSORS_MAX_BYTES};

/// Cursors and validators that changed: the newest value of each.
pub(crate) type CursorValues = BTreeMap<CursorKey, Bytes>;

#[derive(Default)]
pub(crate) struct CursorStore {
    /// As they stood at the grant.
    began: CursorValues,
    /// What this run changed.
    changed: CursorValues,
    count: usize,
    bytes: usize,
}

impl CursorStore {
    pub(crate) fn new(began: CursorValues) -> CursorStore {
        let bytes = began.iter().map(|(key, json)| size(key, json)).sum();
        CursorStore { count: began.len(), bytes, began, changed: CursorValues::new() }
    }

    /// As it stood at the grant: whatever is asked twice in a run begins from the same.
    pub(crate) fn began(&self, key: &CursorKey) -> Option<&Bytes> {
        self.began.get(key)
    }

    /// As it stands now.
    pub(crate) fn now(&self, key: &CursorKey) -> Option<&Bytes> {
        self.changed.get(key).or_else(|| self.began.get(key))
    }

    /// Takes a new value, unless there would be too much. `pointer`: of the field that asks for it.
    pub(crate) fn insert(
        &mut self,
        key: &CursorKey,
        json: &Bytes,
        pointer: impl FnOnce() -> String,
    ) -> Result<(), ErrorDetail> {
        let before = self.now(key).map_or(0, |before| size(key, before));
        let (count, bytes) = (self.count + usize::from(before == 0), self.bytes - before + size(key, json));
        // What is there already may be as much as it is: the bound is one of growing.
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
    fn as_many_are_kept_as_the_bound_says_and_no_more() {
        let mut kept =
            CursorStore::new((1..CURSORS_MAX).map(|n| (key(n), Bytes::from_static(b"1"))).collect());
        let mut insert =
            |item: usize| kept.insert(&key(item), &Bytes::from_static(b"2"), || "/at".to_owned());
        assert!(insert(CURSORS_MAX).is_ok());
        let what = insert(CURSORS_MAX + 1).unwrap_err();
        assert_eq!((what.code, what.pointer.as_str()), ("TOO_MANY_CURSORS", "/at"));
        assert!(insert(7).is_ok(), "one that is kept already may change");
        assert!(kept.now(&key(CURSORS_MAX + 1)).is_none());
        assert_eq!(
            (kept.began(&key(7)).unwrap(), kept.now(&key(7)).unwrap()),
            (&Bytes::from_static(b"1"), &Bytes::from_static(b"2"))
        );
    }

    #[test]
    fn all_together_are_as_large_as_the_bound_says_and_no_larger() {
        let mut kept = CursorStore::default();
        let fills = Bytes::from(vec![b'1'; CURSORS_MAX_BYTES - "orders".len() - 1]);
        assert!(kept.insert(&key(1), &fills, String::new).is_ok());
        assert!(kept.insert(&key(2), &Bytes::from_static(b"1"), String::new).is_err());
        assert!(kept.insert(&key(1), &Bytes::from_static(b"1"), String::new).is_ok());
        assert!(kept.insert(&key(2), &Bytes::from_static(b"1"), String::new).is_ok(), "there is room again");
    }
}

//! The cursors and validators that an execution does not save, because data behind them failed.
//!
//! A cursor that moved on would hide the failed data from every later execution. A held cursor is
//! part of the checkpoint: it stays held in every later attempt, also in another execution that
//! continues this one.

use std::collections::{BTreeMap, BTreeSet};

use crate::attempt::{CursorKey, CursorKind};
use crate::checkpoint::held_cursors::HeldCursorsState;
use crate::rules::repeat_guard::fingerprint;

/// Number of items of one step whose cursors are held one by one. From there on, all cursors of
/// the step are held: a checkpoint must not grow with the number of failed items.
const ITEMS_MAX: usize = 256;

/// The held cursors and validators.
#[derive(Default)]
pub(crate) struct HeldCursors {
    steps: BTreeMap<(CursorKind, String), HeldStep>,
}

/// The held cursors of one step.
struct HeldStep {
    /// Step path of the first failed row.
    row: String,
    /// Fingerprints of the held items; `None` if all cursors of the step are held.
    items: Option<BTreeSet<u64>>,
}

impl HeldCursors {
    /// Restores the held cursors from a checkpoint.
    pub(crate) fn resume(states: Vec<HeldCursorsState>) -> Self {
        let steps = states.into_iter().map(|state| {
            let kind = if state.validator { CursorKind::Validator } else { CursorKind::Cursor };
            let items = (!state.items.is_empty()).then(|| state.items.into_iter().collect());
            ((kind, state.step), HeldStep { row: state.row, items })
        });
        Self { steps: steps.collect() }
    }

    /// Returns the state for a checkpoint.
    pub(crate) fn state(&self) -> Vec<HeldCursorsState> {
        let state = |((kind, step), held): (&(CursorKind, String), &HeldStep)| HeldCursorsState {
            validator: *kind == CursorKind::Validator,
            step: step.clone(),
            row: held.row.clone(),
            items: held.items.iter().flatten().copied().collect(),
        };
        self.steps.iter().map(state).collect()
    }

    /// Holds one cursor, because the row at this step path failed.
    pub(crate) fn hold(&mut self, key: &CursorKey, row: &str) {
        let held = self
            .steps
            .entry((key.kind, key.step.clone()))
            .or_insert_with(|| HeldStep { row: row.to_owned(), items: Some(BTreeSet::new()) });
        if let Some(items) = &mut held.items {
            items.insert(item_fingerprint(key));
            if items.len() > ITEMS_MAX {
                held.items = None;
            }
        }
    }

    /// Returns whether a cursor is held.
    pub(crate) fn holds(&self, key: &CursorKey) -> bool {
        // Nearly every execution holds nothing, and copies no key to find that out.
        if self.steps.is_empty() {
            return false;
        }
        let held = self.steps.get(&(key.kind, key.step.clone()));
        held.is_some_and(|held| {
            held.items.as_ref().is_none_or(|items| items.contains(&item_fingerprint(key)))
        })
    }

    /// Iterates over the steps with held cursors: kind, step id and step path of the first failed
    /// row.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (CursorKind, &str, &str)> {
        self.steps.iter().map(|((kind, step), held)| (*kind, step.as_str(), held.row.as_str()))
    }
}

fn item_fingerprint(key: &CursorKey) -> u64 {
    fingerprint(&[key.item.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(item: impl ToString) -> CursorKey {
        CursorKey { kind: CursorKind::Cursor, step: "orders".to_owned(), item: item.to_string() }
    }

    #[test]
    fn only_the_cursor_of_the_failed_item_is_held() {
        let mut held = HeldCursors::default();
        held.hold(&key(1), "shops[1]");
        let validator = CursorKey { kind: CursorKind::Validator, ..key(1) };
        assert_eq!((held.holds(&key(1)), held.holds(&key(2)), held.holds(&validator)), (true, false, false));
        let held = HeldCursors::resume(held.state());
        assert!(held.holds(&key(1)) && !held.holds(&key(2)));
        assert_eq!(held.steps().next(), Some((CursorKind::Cursor, "orders", "shops[1]")));
    }

    #[test]
    fn too_many_failed_items_hold_the_whole_step() {
        let mut held = HeldCursors::default();
        (0..=ITEMS_MAX).for_each(|item| held.hold(&key(item), "shops[0]"));
        assert!(held.holds(&key("another")), "late, but nothing is lost");
        let held = HeldCursors::resume(held.state());
        assert!(held.holds(&key("another")) && held.state()[0].items.is_empty());
    }
}

//! What a plan may keep for a config outside its context: which kinds of cursors, how large each, how many and how large all.

use orchid_common::limits::{CURSOR_KEY_MAX_BYTES, CURSOR_MAX_BYTES, CURSORS_MAX, CURSORS_MAX_BYTES};

use crate::text::text_enum;

text_enum! {
    /// What a cursor is for.
    CursorKind as "cursor kind" {
        /// What was read up to.
        Cursor = "cursor",
        /// What a conditional request is made with.
        Validator = "validator",
    }
}

/// The same limits as numbers of the database.
const COUNT_MAX: u64 = CURSORS_MAX as u64;
const TOTAL_MAX_BYTES: u64 = CURSORS_MAX_BYTES as u64;

/// What a plan keeps for a config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Why a cursor is not kept. Each begins with a name that a program can look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Its key is too long.
    #[error(
        "CURSOR_TOO_LARGE: the key of a cursor of step {step:?} has {bytes} bytes, at most {CURSOR_KEY_MAX_BYTES}"
    )]
    Key {
        /// Of which step, shortened.
        step: String,
        /// How long.
        bytes: usize,
    },
    /// Its value is too large.
    #[error("CURSOR_TOO_LARGE: a cursor of step {step:?} has {bytes} bytes, at most {CURSOR_MAX_BYTES}")]
    Value {
        /// Of which step.
        step: String,
        /// How large.
        bytes: usize,
    },
    /// There are too many.
    #[error("TOO_MANY_CURSORS: the plan would keep {count} cursors for this config, at most {COUNT_MAX}")]
    Count {
        /// How many there would be.
        count: u64,
    },
    /// Together they are too large.
    #[error(
        "TOO_MANY_CURSORS: the plan would keep {bytes} bytes of cursors for this config, at most {TOTAL_MAX_BYTES}"
    )]
    Total {
        /// How large they would be.
        bytes: u64,
    },
}

/// Checks one cursor by itself.
///
/// # Errors
/// It is too large.
pub fn check(step: &str, item: &[u8], value: &[u8]) -> Result<(), Excess> {
    let key = step.len() + item.len();
    if key > CURSOR_KEY_MAX_BYTES {
        // A step's id is bounded where plans are checked, and nobody promised that here.
        return Err(Excess::Key { step: step.chars().take(100).collect(), bytes: key });
    }
    if value.len() > CURSOR_MAX_BYTES {
        return Err(Excess::Value { step: step.to_owned(), bytes: value.len() });
    }
    Ok(())
}

impl Amount {
    /// With one cursor more.
    #[must_use]
    pub fn and(self, step: &str, item: &[u8], value: &[u8]) -> Self {
        let bytes = step.len() + item.len() + value.len();
        Self {
            count: self.count.saturating_add(1),
            bytes: self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)),
        }
    }

    /// Checks all of a plan's cursors for a config.
    ///
    /// # Errors
    /// There are too many, or they are too large together.
    pub fn check(self) -> Result<(), Excess> {
        if self.count > COUNT_MAX {
            return Err(Excess::Count { count: self.count });
        }
        if self.bytes > TOTAL_MAX_BYTES {
            return Err(Excess::Total { bytes: self.bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, COUNT_MAX, CURSOR_KEY_MAX_BYTES, CURSOR_MAX_BYTES, Excess, TOTAL_MAX_BYTES, check};

    #[test]
    fn a_cursor_is_as_large_as_its_bounds_and_no_larger() {
        let item = vec![b'i'; CURSOR_KEY_MAX_BYTES - 4];
        let value = vec![b'1'; CURSOR_MAX_BYTES];
        assert_eq!(check("step", &item, &value), Ok(()));
        let longer = vec![b'i'; CURSOR_KEY_MAX_BYTES - 3];
        assert_eq!(check("step", &longer, b"1"), Err(Excess::Key { step: "step".to_owned(), bytes: 1025 }));
        let larger = vec![b'1'; CURSOR_MAX_BYTES + 1];
        let refused = check("step", b"", &larger).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "CURSOR_TOO_LARGE: a cursor of step \"step\" has 65537 bytes, at most 65536"
        );
    }

    #[test]
    fn all_together_are_as_many_as_their_bounds_and_no_more() {
        assert_eq!(Amount { count: COUNT_MAX, bytes: TOTAL_MAX_BYTES }.check(), Ok(()));
        let more = Amount { count: COUNT_MAX, bytes: 0 }.and("s", b"", b"1");
        assert_eq!(more.check(), Err(Excess::Count { count: COUNT_MAX + 1 }));
        let larger = Amount { count: 1, bytes: TOTAL_MAX_BYTES }.and("s", b"i", b"1");
        assert_eq!(larger.check(), Err(Excess::Total { bytes: TOTAL_MAX_BYTES + 3 }));
    }
}

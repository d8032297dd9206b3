//! Cursors and validators: what a plan keeps for a config outside its context. The bounds
//! are `orchid_common::limits`, which the executor shares.

use orchid_common::limits::{CURSOR_KEY_MAX_BYTES, CURSOR_MAX_BYTES, CURSORS_MAX, CURSORS_MAX_BYTES};

use crate::text::text_enum;

text_enum! {
    /// The purpose of a stored value.
    CursorKind as "cursor kind" {
        /// The position that was read up to.
        Cursor = "cursor",
        /// The validator of a conditional request (`ETag` or `Last-Modified`).
        Validator = "validator",
    }
}

/// The shared limits, as numbers of the database.
const COUNT_MAX: u64 = CURSORS_MAX as u64;
const TOTAL_MAX_BYTES: u64 = CURSORS_MAX_BYTES as u64;

/// The cursors that a plan keeps for a config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CursorUsage {
    /// Number of cursors.
    pub count: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// A bound that cursors exceed. Each message begins with a code that a program can look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorExcess {
    /// The key is too long.
    #[error(
        "CURSOR_TOO_LARGE: the key of a cursor of step {step:?} has {bytes} bytes, at most {CURSOR_KEY_MAX_BYTES}"
    )]
    Key {
        /// Id of the step, shortened.
        step: String,
        /// Bytes of the key.
        bytes: usize,
    },
    /// The value is too large.
    #[error("CURSOR_TOO_LARGE: a cursor of step {step:?} has {bytes} bytes, at most {CURSOR_MAX_BYTES}")]
    Value {
        /// Id of the step.
        step: String,
        /// Bytes of the value.
        bytes: usize,
    },
    /// There are too many cursors.
    #[error("TOO_MANY_CURSORS: the plan would keep {count} cursors for this config, at most {COUNT_MAX}")]
    Count {
        /// Number of cursors that there would be.
        count: u64,
    },
    /// The cursors are too large together.
    #[error(
        "TOO_MANY_CURSORS: the plan would keep {bytes} bytes of cursors for this config, at most {TOTAL_MAX_BYTES}"
    )]
    Total {
        /// Bytes that there would be.
        bytes: u64,
    },
}

impl CursorExcess {
    /// Returns the code of the limit.
    pub fn limit_code(&self) -> &'static str {
        match self {
            Self::Key { .. } | Self::Value { .. } => "CURSOR_TOO_LARGE",
            Self::Count { .. } | Self::Total { .. } => "TOO_MANY_CURSORS",
        }
    }
}

/// Checks the bounds of one cursor.
///
/// # Errors
/// Its key or its value is too large.
pub fn check(step: &str, item: &[u8], value: &[u8]) -> Result<(), CursorExcess> {
    let key = step.len() + item.len();
    if key > CURSOR_KEY_MAX_BYTES {
        // Plans bound the ids of their steps, but this one comes from an executor.
        return Err(CursorExcess::Key { step: step.chars().take(100).collect(), bytes: key });
    }
    if value.len() > CURSOR_MAX_BYTES {
        return Err(CursorExcess::Value { step: step.to_owned(), bytes: value.len() });
    }
    Ok(())
}

impl CursorUsage {
    /// Returns the usage with one more cursor.
    #[must_use]
    pub fn with(self, step: &str, item: &[u8], value: &[u8]) -> Self {
        let bytes = step.len() + item.len() + value.len();
        Self {
            count: self.count.saturating_add(1),
            bytes: self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)),
        }
    }

    /// Checks the bounds of all cursors of a plan for a config.
    ///
    /// # Errors
    /// There are too many, or they are too large together.
    pub fn check(self) -> Result<(), CursorExcess> {
        if self.count > COUNT_MAX {
            return Err(CursorExcess::Count { count: self.count });
        }
        if self.bytes > TOTAL_MAX_BYTES {
            return Err(CursorExcess::Total { bytes: self.bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        COUNT_MAX, CURSOR_KEY_MAX_BYTES, CURSOR_MAX_BYTES, CursorExcess, CursorUsage, TOTAL_MAX_BYTES, check,
    };

    #[test]
    fn cursor_larger_than_its_bounds_is_refused() {
        let item = vec![b'i'; CURSOR_KEY_MAX_BYTES - 4];
        let value = vec![b'1'; CURSOR_MAX_BYTES];
        assert_eq!(check("step", &item, &value), Ok(()));
        let longer = vec![b'i'; CURSOR_KEY_MAX_BYTES - 3];
        assert_eq!(
            check("step", &longer, b"1"),
            Err(CursorExcess::Key { step: "step".to_owned(), bytes: 1025 })
        );
        let larger = vec![b'1'; CURSOR_MAX_BYTES + 1];
        let refused = check("step", b"", &larger).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "CURSOR_TOO_LARGE: a cursor of step \"step\" has 65537 bytes, at most 65536"
        );
        assert!(refused.to_string().starts_with(refused.limit_code()));
    }

    #[test]
    fn cursors_beyond_their_total_bounds_are_refused() {
        assert_eq!(CursorUsage { count: COUNT_MAX, bytes: TOTAL_MAX_BYTES }.check(), Ok(()));
        let more = CursorUsage { count: COUNT_MAX, bytes: 0 }.with("s", b"", b"1");
        assert_eq!(more.check(), Err(CursorExcess::Count { count: COUNT_MAX + 1 }));
        let larger = CursorUsage { count: 1, bytes: TOTAL_MAX_BYTES }.with("s", b"i", b"1");
        let refused = larger.check().unwrap_err();
        assert_eq!(refused, CursorExcess::Total { bytes: TOTAL_MAX_BYTES + 3 });
        assert!(refused.to_string().starts_with(refused.limit_code()));
    }
}

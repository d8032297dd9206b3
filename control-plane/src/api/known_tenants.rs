//! Tenants that were looked up lately. Both answers are kept: a known tenant has an allowance of
//! its own, and an unknown one must not cost a look-up with every call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Time for which a tenant that was found is not looked up again.
const FOUND_KEPT: Duration = Duration::from_secs(30);
/// Time for which a tenant that was not found is not looked up again.
const MISSING_KEPT: Duration = Duration::from_secs(5);
const MAX_KNOWN: usize = 100_000;

/// The answers of look-ups, by tenant.
#[derive(Default)]
pub(crate) struct KnownTenants {
    answers: Mutex<HashMap<Uuid, Answer>>,
}

struct Answer {
    exists: bool,
    until: Instant,
}

impl KnownTenants {
    /// Returns whether a tenant exists; none if it must be looked up.
    pub(crate) fn exists(&self, tenant_id: Uuid, now: Instant) -> Option<bool> {
        self.answers().get(&tenant_id).filter(|answer| answer.until > now).map(|answer| answer.exists)
    }

    /// Records the answer of a look-up.
    pub(crate) fn record(&self, tenant_id: Uuid, exists: bool, now: Instant) {
        let mut answers = self.answers();
        // Forgetting all is cheap: each tenant costs one look-up at its next call.
        if answers.len() >= MAX_KNOWN {
            answers.clear();
        }
        let kept = if exists { FOUND_KEPT } else { MISSING_KEPT };
        answers.insert(tenant_id, Answer { exists, until: now + kept });
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<Uuid, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use orchid_kit::clock;

    use super::*;

    #[test]
    fn both_answers_are_kept_for_their_time() {
        let known = KnownTenants::default();
        let (found, missing, now) = (Uuid::from_u128(1), Uuid::from_u128(2), clock::monotonic());
        assert_eq!(known.exists(found, now), None);
        known.record(found, true, now);
        known.record(missing, false, now);
        assert_eq!(known.exists(found, now + FOUND_KEPT / 2), Some(true));
        assert_eq!(known.exists(missing, now), Some(false));
        assert_eq!(known.exists(missing, now + MISSING_KEPT), None);
        assert_eq!(known.exists(found, now + FOUND_KEPT), None);
    }
}

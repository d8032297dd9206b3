//! Ids of scheduled executions. They are derived from the schedule and the time, so that an
//! occurrence exists once, even when a fail-over made the scheduler forget that it had inserted it.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{ExecutionId, ScheduleId};

/// Returns the id of the execution of a schedule at a time.
///
/// It has the form of a UUID v7 (RFC 9562, 5.7) of that time, so that it falls into that time's
/// partition. The random bits are the first ones of SHA-256 over schedule (16 bytes) and time (8
/// bytes of microseconds, big endian).
pub fn execution_id(schedule: ScheduleId, scheduled_at: DateTime<Utc>) -> ExecutionId {
    let mut hash = Sha256::new();
    hash.update(schedule.0.as_bytes());
    hash.update(scheduled_at.timestamp_micros().to_be_bytes());
    let digest = hash.finalize();
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    let millis = u64::try_from(scheduled_at.timestamp_millis()).unwrap_or(0);
    ExecutionId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

/// Returns the time of a UUID v7, in milliseconds since 1970.
pub fn millis_of(id: Uuid) -> u64 {
    let (high, low, _, _) = id.as_fields();
    (u64::from(high) << 16) | u64::from(low)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::{any, prop_assert_eq, prop_assert_ne, proptest};
    use uuid::{Uuid, Variant};

    use super::{execution_id, millis_of};
    use crate::ScheduleId;

    #[test]
    fn execution_id_is_pinned() {
        let schedule = ScheduleId(Uuid::from_u128(7));
        let at = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
        assert_eq!(execution_id(schedule, at).to_string(), "018bcfe5-6800-780e-afb4-12feafee6fce");
    }

    proptest! {
        #[test]
        fn execution_id_is_a_v7_of_its_time(schedule in any::<u128>(), micros in 0..4_000_000_000_000_000_i64) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            let id = execution_id(ScheduleId(Uuid::from_u128(schedule)), at).0;
            prop_assert_eq!(id.get_version_num(), 7);
            prop_assert_eq!(id.get_variant(), Variant::RFC4122);
            prop_assert_eq!(millis_of(id), u64::try_from(at.timestamp_millis()).unwrap());
        }

        #[test]
        fn execution_id_differs_by_schedule_and_time(schedule in any::<u128>(), micros in 0..4_000_000_000_000_000_i64) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            let id = execution_id(ScheduleId(Uuid::from_u128(schedule)), at);
            prop_assert_eq!(id, execution_id(ScheduleId(Uuid::from_u128(schedule)), at));
            prop_assert_ne!(id, execution_id(ScheduleId(Uuid::from_u128(schedule ^ 1)), at));
            prop_assert_ne!(id, execution_id(ScheduleId(Uuid::from_u128(schedule)), at + TimeDelta::microseconds(1)));
        }
    }
}

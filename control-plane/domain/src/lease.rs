//! Claims on leases: whether a call that shows a lease may do what it asks.

use chrono::{DateTime, TimeDelta, Utc};

use crate::LeaseId;
use crate::execution::{AttemptVerdict, State};

/// `max_execution_seconds` of a plan that sets none.
const DEFAULT_EXECUTION_SECONDS: i64 = 300;
/// Time beyond the plan's limit in which an executor can end the execution itself.
const EXECUTION_SLACK: TimeDelta = TimeDelta::seconds(60);

/// Returns the time at which the server ends an attempt that its executor did not end.
///
/// Only running time counts: the time of earlier attempts is subtracted, and parked time never
/// enters.
pub fn attempt_end(granted_at: DateTime<Utc>, max_seconds: Option<i64>, ran_ms: i64) -> DateTime<Utc> {
    let limit = TimeDelta::try_seconds(max_seconds.unwrap_or(DEFAULT_EXECUTION_SECONDS));
    let ran = TimeDelta::milliseconds(ran_ms);
    let left = limit.and_then(|limit| limit.checked_sub(&ran)?.checked_add(&EXECUTION_SLACK));
    left.and_then(|left| granted_at.checked_add_signed(left)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The claim of a call: the contents of its lease token, which opened for the session of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseClaim {
    /// The lease.
    pub lease: LeaseId,
    /// Fence of the attempt.
    pub fence: i64,
}

/// The current holder of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    /// State of the execution.
    pub state: State,
    /// Fence of its newest attempt.
    pub fence: i64,
    /// Its lease; none while no executor has it.
    pub lease: Option<LeaseId>,
}

/// The end of the claimed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// Lease of the attempt.
    pub lease: LeaseId,
    /// Seq of the call that ended it; 0 when no call did.
    pub final_seq: i64,
    /// The way in which it ended.
    pub verdict: AttemptVerdict,
}

/// A call that ends an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingCall {
    /// Ends the execution.
    Complete,
    /// Hands the execution back until a time.
    Park,
    /// Hands the execution back at once.
    Release,
}

impl EndingCall {
    /// Returns whether an attempt that this call ended may have this verdict.
    const fn results_in(self, verdict: AttemptVerdict) -> bool {
        match self {
            Self::Complete => matches!(verdict, AttemptVerdict::Completed | AttemptVerdict::Cancelled),
            Self::Park => matches!(verdict, AttemptVerdict::Parked),
            Self::Release => {
                matches!(
                    verdict,
                    AttemptVerdict::Drained | AttemptVerdict::SelfFenced | AttemptVerdict::NeverStarted
                )
            }
        }
    }
}

/// The verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// The call holds the lease.
    Held,
    /// The same call was done before.
    Repeated,
    /// The call does not hold the lease.
    Refused(LeaseRefusal),
}

/// The reason why a call is refused for one lease.
#[derive(Clone, Debug, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// The executor does not hold the lease any more.
    #[error("the lease is no longer held")]
    LeaseLost,
    /// A newer attempt exists.
    #[error("a newer attempt exists")]
    Fenced,
    /// The execution has ended.
    #[error("the execution has ended")]
    ExecutionTerminal,
    /// Another executor has the execution.
    #[error("another executor has it")]
    AlreadyLeased,
    /// The execution is unknown, belongs to another pool, or is not ready.
    #[error("not ready")]
    NotReady,
}

/// Judges a claim. `holder` is none when the execution does not exist.
pub fn judge_claim(claim: &LeaseClaim, holder: Option<&LeaseHolder>) -> ClaimVerdict {
    let Some(holder) = holder else { return ClaimVerdict::Refused(LeaseRefusal::LeaseLost) };
    if holder.state.is_terminal() {
        return ClaimVerdict::Refused(LeaseRefusal::ExecutionTerminal);
    }
    if holder.fence > claim.fence {
        return ClaimVerdict::Refused(LeaseRefusal::Fenced);
    }
    // The lease id is random and must match too, so that a guessed or reused fence proves nothing.
    let held =
        holder.state == State::Running && holder.fence == claim.fence && holder.lease == Some(claim.lease);
    if held { ClaimVerdict::Held } else { ClaimVerdict::Refused(LeaseRefusal::LeaseLost) }
}

/// Judges a call that ends an attempt. `end` is the end of the claimed attempt, if it has ended. A
/// call that is repeated because its response was lost gets `Repeated` instead of a refusal.
pub fn judge_ending_call(
    claim: &LeaseClaim,
    holder: Option<&LeaseHolder>,
    end: Option<&AttemptEnd>,
    call: EndingCall,
    seq: i64,
) -> ClaimVerdict {
    match judge_claim(claim, holder) {
        ClaimVerdict::Refused(refusal) => match end {
            Some(end) if end.lease == claim.lease && end.final_seq == seq && call.results_in(end.verdict) => {
                ClaimVerdict::Repeated
            }
            Some(_) | None => ClaimVerdict::Refused(refusal),
        },
        verdict @ (ClaimVerdict::Held | ClaimVerdict::Repeated) => verdict,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use super::{
        AttemptEnd, ClaimVerdict, EndingCall, LeaseClaim, LeaseHolder, LeaseRefusal, attempt_end,
        judge_claim, judge_ending_call,
    };
    use crate::LeaseId;
    use crate::execution::{AttemptVerdict, State};

    const LEASE: LeaseId = LeaseId(Uuid::from_u128(1));
    const OTHER: Option<LeaseId> = Some(LeaseId(Uuid::from_u128(99)));
    const CLAIM: LeaseClaim = LeaseClaim { lease: LEASE, fence: 7 };
    const HOLDER: LeaseHolder = LeaseHolder { state: State::Running, fence: 7, lease: Some(LEASE) };

    #[test]
    fn attempt_ends_after_its_limit_without_earlier_running_time() {
        let at = DateTime::UNIX_EPOCH;
        let end = |max_seconds, ran_ms| (attempt_end(at, max_seconds, ran_ms) - at).num_seconds();
        assert_eq!(end(Some(10), 0), 70);
        assert_eq!(end(Some(10), 4_000), 66);
        assert_eq!(end(None, 0), 360);
        assert_eq!(attempt_end(at, Some(i64::MAX), 0), DateTime::<Utc>::MAX_UTC);
    }

    #[test]
    fn claim_holds_only_with_its_lease_and_fence() {
        let cases = [
            (Some(HOLDER), ClaimVerdict::Held),
            (None, ClaimVerdict::Refused(LeaseRefusal::LeaseLost)),
            (
                Some(LeaseHolder { state: State::Cancelled, ..HOLDER }),
                ClaimVerdict::Refused(LeaseRefusal::ExecutionTerminal),
            ),
            (
                Some(LeaseHolder { fence: 8, lease: OTHER, ..HOLDER }),
                ClaimVerdict::Refused(LeaseRefusal::Fenced),
            ),
            (
                Some(LeaseHolder { state: State::Queued, lease: None, ..HOLDER }),
                ClaimVerdict::Refused(LeaseRefusal::LeaseLost),
            ),
            (Some(LeaseHolder { lease: OTHER, ..HOLDER }), ClaimVerdict::Refused(LeaseRefusal::LeaseLost)),
            (Some(LeaseHolder { fence: 6, ..HOLDER }), ClaimVerdict::Refused(LeaseRefusal::LeaseLost)),
        ];
        for (holder, verdict) in cases {
            assert_eq!(judge_claim(&CLAIM, holder.as_ref()), verdict, "{holder:?}");
        }
    }

    #[test]
    fn repeated_ending_call_gets_the_same_answer() {
        let ended = LeaseHolder { state: State::Succeeded, lease: None, ..HOLDER };
        let end = AttemptEnd { lease: LEASE, final_seq: 4, verdict: AttemptVerdict::Completed };
        let judge =
            |end: &AttemptEnd, call, seq| judge_ending_call(&CLAIM, Some(&ended), Some(end), call, seq);
        let refused = ClaimVerdict::Refused(LeaseRefusal::ExecutionTerminal);
        assert_eq!(judge(&end, EndingCall::Complete, 4), ClaimVerdict::Repeated);
        assert_eq!(judge(&end, EndingCall::Complete, 5), refused);
        assert_eq!(judge(&end, EndingCall::Park, 4), refused);
        let lost = AttemptEnd { verdict: AttemptVerdict::LostHeartbeat, ..end };
        assert_eq!(judge(&lost, EndingCall::Complete, 4), refused);
        let of_another = AttemptEnd { lease: LeaseId(Uuid::from_u128(9)), ..end };
        assert_eq!(judge(&of_another, EndingCall::Complete, 4), refused);
    }

    #[test]
    fn repeated_park_is_known_after_the_next_grant() {
        let next = LeaseHolder { fence: 8, lease: OTHER, ..HOLDER };
        let end = AttemptEnd { lease: LEASE, final_seq: 4, verdict: AttemptVerdict::Parked };
        assert_eq!(
            judge_ending_call(&CLAIM, Some(&next), Some(&end), EndingCall::Park, 4),
            ClaimVerdict::Repeated
        );
    }
}

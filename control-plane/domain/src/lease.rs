//! Whether a call that shows a lease may do what it asks.

use crate::LeaseId;
use crate::execution::{AttemptVerdict, State};

/// What the call shows: the contents of its lease token, which has opened for the session that it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseClaim {
    /// The lease.
    pub lease: LeaseId,
    /// The attempt's fence.
    pub fence: i64,
}

/// The run as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Where the run is.
    pub state: State,
    /// Its newest fence.
    pub fence: i64,
    /// Its lease, while it has one.
    pub lease: Option<LeaseId>,
}

/// How the claimed attempt ended, where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// The attempt's lease.
    pub lease: LeaseId,
    /// The seq of the call that ended it; 0 where no call did.
    pub final_seq: i64,
    /// How.
    pub verdict: AttemptVerdict,
}

/// Which call it is, of those that end an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingCall {
    /// Complete.
    Complete,
    /// Park.
    Park,
    /// Release.
    Release,
}

impl EndingCall {
    /// An attempt that this call ended says this.
    const fn made(self, verdict: AttemptVerdict) -> bool {
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

/// How a call stands to its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// It holds the lease.
    Held,
    /// The same call was done before.
    Repeated,
    /// It does not hold the lease.
    Refused(LeaseRefusal),
}

/// Why a call is refused for one lease.
#[derive(Clone, Debug, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// The lease is no longer this executor's.
    #[error("the lease is no longer held")]
    LeaseLost,
    /// A newer attempt exists.
    #[error("a newer attempt exists")]
    Fenced,
    /// The execution has ended.
    #[error("the execution has ended")]
    ExecutionTerminal,
    /// Another executor has it.
    #[error("another executor has it")]
    AlreadyLeased,
    /// Unknown, of another pool, or not ready.
    #[error("not ready")]
    NotReady,
}

/// Judges a claim against the run; none: there is no such run.
pub fn judge_claim(claim: &LeaseClaim, holder: Option<&LeaseHolder>) -> ClaimVerdict {
    let Some(holder) = holder else { return ClaimVerdict::Refused(LeaseRefusal::LeaseLost) };
    if holder.state.is_terminal() {
        return ClaimVerdict::Refused(LeaseRefusal::ExecutionTerminal);
    }
    if holder.fence > claim.fence {
        return ClaimVerdict::Refused(LeaseRefusal::Fenced);
    }
    let held =
        holder.state == State::Running && holder.fence == claim.fence && holder.lease == Some(claim.lease);
    if held { ClaimVerdict::Held } else { ClaimVerdict::Refused(LeaseRefusal::LeaseLost) }
}

/// Judges a call that ends an attempt: one that did so before is told the same again.
pub fn judge_ending_call(
    claim: &LeaseClaim,
    holder: Option<&LeaseHolder>,
    end: Option<&AttemptEnd>,
    call: EndingCall,
    seq: i64,
) -> ClaimVerdict {
    match judge_claim(claim, holder) {
        ClaimVerdict::Refused(refusal) => match end {
            Some(end) if end.lease == claim.lease && end.final_seq == seq && call.made(end.verdict) => {
                ClaimVerdict::Repeated
            }
            Some(_) | None => ClaimVerdict::Refused(refusal),
        },
        verdict @ (ClaimVerdict::Held | ClaimVerdict::Repeated) => verdict,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{
        AttemptEnd, ClaimVerdict, EndingCall, LeaseClaim, LeaseHolder, LeaseRefusal, judge_claim,
        judge_ending_call,
    };
    use crate::LeaseId;
    use crate::execution::{AttemptVerdict, State};

    const LEASE: LeaseId = LeaseId(Uuid::from_u128(1));
    const OTHER: Option<LeaseId> = Some(LeaseId(Uuid::from_u128(99)));
    const CLAIM: LeaseClaim = LeaseClaim { lease: LEASE, fence: 7 };
    const HOLDER: LeaseHolder = LeaseHolder { state: State::Running, fence: 7, lease: Some(LEASE) };

    #[test]
    fn only_the_same_lease_and_fence_hold() {
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
    fn a_repeated_ending_is_told_the_same_again() {
        let ended = LeaseHolder { state: State::Succeeded, lease: None, ..HOLDER };
        let end = AttemptEnd { lease: LEASE, final_seq: 4, verdict: AttemptVerdict::Completed };
        let judge_claim =
            |end: &AttemptEnd, call, seq| judge_ending_call(&CLAIM, Some(&ended), Some(end), call, seq);
        let refused = ClaimVerdict::Refused(LeaseRefusal::ExecutionTerminal);
        assert_eq!(judge_claim(&end, EndingCall::Complete, 4), ClaimVerdict::Repeated);
        assert_eq!(judge_claim(&end, EndingCall::Complete, 5), refused);
        assert_eq!(judge_claim(&end, EndingCall::Park, 4), refused);
        let lost = AttemptEnd { verdict: AttemptVerdict::LostHeartbeat, ..end };
        assert_eq!(judge_claim(&lost, EndingCall::Complete, 4), refused);
        let of_another = AttemptEnd { lease: LeaseId(Uuid::from_u128(9)), ..end };
        assert_eq!(judge_claim(&of_another, EndingCall::Complete, 4), refused);
    }

    #[test]
    fn a_repeated_park_is_known_after_the_next_grant() {
        let next = LeaseHolder { fence: 8, lease: OTHER, ..HOLDER };
        let end = AttemptEnd { lease: LEASE, final_seq: 4, verdict: AttemptVerdict::Parked };
        assert_eq!(
            judge_ending_call(&CLAIM, Some(&next), Some(&end), EndingCall::Park, 4),
            ClaimVerdict::Repeated
        );
    }
}

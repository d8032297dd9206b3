//! Which executors are gone. A session lives for its TTL and a grace after its last beat, by the database's clock. An outage of
//! ours is no death of theirs: after a gap in our own passes nothing expires for one TTL, and a pass that would expire most of
//! the fleet takes a few only.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::SessionId;

/// With fewer sessions than this, all may go at once.
const FLEET_SIZE_FOR_TRICKLE: usize = 8;
/// A pass that trickles expires one in so many.
const TRICKLE_SHARE: usize = 16;
/// So many sessions share one TTL; more stretch it.
const SESSIONS_PER_TTL: u64 = 1000;
/// The most that the TTL stretches.
const MAX_STRETCH: u32 = 4;

/// One live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHeartbeat {
    /// Which.
    pub id: SessionId,
    /// When it last beat.
    pub beat_at: DateTime<Utc>,
    /// The TTL that its last beat was promised.
    pub ttl: Duration,
}

/// What is known of the passes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopHistory {
    /// When any replica's pass was last; none before the first.
    pub last: Option<DateTime<Utc>>,
    /// Nothing expires before this time.
    pub grace_until: Option<DateTime<Utc>>,
}

/// What a pass does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryDecision {
    /// Sessions to expire, those silent longest first.
    pub expired: Vec<SessionId>,
    /// To be stored.
    pub grace_until: Option<DateTime<Utc>>,
    /// Most of the fleet looks dead: a sign of trouble on our side.
    pub trickles: bool,
}

/// Decides one pass. `ttl`: the server's setting; `grace`: what a session gets beyond its TTL.
pub fn expire(
    sessions: &[SessionHeartbeat],
    passes: LoopHistory,
    now: DateTime<Utc>,
    ttl: Duration,
    grace: Duration,
) -> ExpiryDecision {
    let gap = passes.last.is_none_or(|last| (now - last).to_std().unwrap_or_default() > ttl / 2);
    let grace_until = if gap { Some(now + ttl) } else { passes.grace_until.filter(|until| *until > now) };
    if grace_until.is_some() {
        return ExpiryDecision { expired: Vec::new(), grace_until, trickles: false };
    }
    let mut silent: Vec<&SessionHeartbeat> = sessions
        .iter()
        .filter(|session| (now - session.beat_at).to_std().unwrap_or_default() > session.ttl + grace)
        .collect();
    silent.sort_by_key(|session| (session.beat_at, session.id));
    let trickles = sessions.len() >= FLEET_SIZE_FOR_TRICKLE && silent.len() > sessions.len() / 2;
    if trickles {
        silent.truncate((sessions.len() / TRICKLE_SHARE).max(1));
    }
    ExpiryDecision { expired: silent.iter().map(|session| session.id).collect(), grace_until: None, trickles }
}

/// The TTL for a fleet of so many sessions: it stretches so that beats do not outgrow the database.
pub fn stretched_ttl(ttl: Duration, sessions: u64) -> Duration {
    let stretch = sessions.div_ceil(SESSIONS_PER_TTL).clamp(1, u64::from(MAX_STRETCH));
    ttl * u32::try_from(stretch).unwrap_or(MAX_STRETCH)
}

/// How often to beat with this TTL.
pub fn heartbeat_interval(ttl: Duration) -> Duration {
    ttl / 3
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, proptest};
    use uuid::Uuid;

    use super::{LoopHistory, SessionHeartbeat, expire, stretched_ttl};
    use crate::SessionId;

    const TTL: Duration = Duration::from_secs(30);
    const GRACE: Duration = Duration::from_secs(5);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn session(number: u128, beat_at: i64) -> SessionHeartbeat {
        SessionHeartbeat { id: SessionId(Uuid::from_u128(number)), beat_at: at(beat_at), ttl: TTL }
    }

    fn steady(now: i64) -> LoopHistory {
        LoopHistory { last: Some(at(now - 1)), grace_until: None }
    }

    #[test]
    fn expires_after_ttl_and_grace_alone() {
        let sessions = [session(1, 964), session(2, 965), session(3, 999)];
        let expiry = expire(&sessions, steady(1000), at(1000), TTL, GRACE);
        assert_eq!(expiry.expired, [SessionId(Uuid::from_u128(1))]);
    }

    #[test]
    fn nothing_expires_for_one_ttl_after_a_gap() {
        let sessions = [session(1, 0)];
        let gap =
            expire(&sessions, LoopHistory { last: Some(at(900)), grace_until: None }, at(1000), TTL, GRACE);
        assert_eq!((gap.expired.len(), gap.grace_until), (0, Some(at(1030))));
        let passes = LoopHistory { last: Some(at(1028)), grace_until: gap.grace_until };
        assert!(expire(&sessions, passes, at(1029), TTL, GRACE).expired.is_empty());
        let passes = LoopHistory { last: Some(at(1030)), grace_until: gap.grace_until };
        assert_eq!(expire(&sessions, passes, at(1031), TTL, GRACE).expired.len(), 1);
    }

    #[test]
    fn a_pass_over_half_of_the_fleet_trickles() {
        let sessions: Vec<_> =
            (0..8).map(|number| session(number, if number < 5 { 10 } else { 999 })).collect();
        let expiry = expire(&sessions, steady(1000), at(1000), TTL, GRACE);
        assert_eq!((expiry.expired.len(), expiry.trickles), (1, true));
        let expiry = expire(&sessions[..7], steady(1000), at(1000), TTL, GRACE);
        assert_eq!((expiry.expired.len(), expiry.trickles), (5, false));
    }

    #[test]
    fn a_session_keeps_the_ttl_that_it_was_promised() {
        let stretched = SessionHeartbeat { ttl: TTL * 2, ..session(1, 950) };
        assert!(expire(&[stretched], steady(1000), at(1000), TTL, GRACE).expired.is_empty());
    }

    #[test]
    fn the_ttl_stretches_with_the_fleet() {
        let seconds = |sessions| stretched_ttl(TTL, sessions).as_secs();
        assert_eq!([0, 1, 1000, 1001, 2500, 90_000].map(seconds), [30, 30, 30, 60, 90, 120]);
    }

    proptest! {
        #[test]
        fn a_session_that_beats_never_expires(beats in vec(0..1000_i64, 0..20), last in 0..1000_i64) {
            let sessions: Vec<_> = beats.iter().enumerate().map(|(number, beat)| session(number as u128, *beat)).collect();
            let passes = LoopHistory { last: Some(at(last)), grace_until: None };
            for expired in expire(&sessions, passes, at(1000), TTL, GRACE).expired {
                let session = sessions.iter().find(|session| session.id == expired).unwrap();
                prop_assert!((at(1000) - session.beat_at).num_seconds() > 35);
            }
        }
    }
}

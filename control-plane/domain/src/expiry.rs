//! Expiry of sessions: which executors are gone.
//!
//! A session lives for its TTL and a grace after its last heartbeat, by the database's clock. Two
//! rules keep an outage of the server from looking like a death of its executors. After a gap in
//! the reaper's own runs nothing expires for one TTL. And where most of the fleet falls silent at
//! once, nothing expires for one TTL either; sessions that are silent even then are gone.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::SessionId;

/// Number of sessions below which all may expire at once.
const FLEET_SIZE_FOR_LIMIT: usize = 8;
/// Number of sessions that share one TTL. A larger fleet stretches it.
const SESSIONS_PER_TTL: u64 = 1000;
/// Maximum factor of the TTL.
const MAX_STRETCH: u32 = 4;

/// The last heartbeat of a session that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHeartbeat {
    /// The session.
    pub id: SessionId,
    /// Time of its last heartbeat.
    pub last_heartbeat_at: DateTime<Utc>,
    /// Time to live that its last heartbeat was promised.
    pub ttl: Duration,
}

/// The reaper's earlier runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopHistory {
    /// Time of the last run on any replica; none before the first.
    pub last_run: Option<DateTime<Utc>>,
    /// Nothing expires before this time.
    pub grace_until: Option<DateTime<Utc>>,
}

/// A decision about all sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryDecision {
    /// Sessions to expire, those silent for longest first.
    pub expired: Vec<SessionId>,
    /// The grace to store for the next run.
    pub grace_until: Option<DateTime<Utc>>,
    /// True if most of the fleet looks dead, which points to a fault on the server's side, so that
    /// nothing expires before the grace has passed.
    pub is_held: bool,
}

/// Decides which sessions expire. `ttl` is the server's setting, and `grace` is what a session gets
/// beyond its own TTL.
pub fn expire(
    sessions: &[SessionHeartbeat],
    history: LoopHistory,
    now: DateTime<Utc>,
    ttl: Duration,
    grace: Duration,
) -> ExpiryDecision {
    let gap = history.last_run.is_none_or(|last| (now - last).to_std().unwrap_or_default() > ttl / 2);
    // Executors could not send heartbeats during the gap, so they get one TTL to catch up.
    let grace_until = if gap { Some(now + ttl) } else { history.grace_until.filter(|until| *until > now) };
    if grace_until.is_some() {
        return ExpiryDecision { expired: Vec::new(), grace_until, is_held: false };
    }
    let silence = |session: &SessionHeartbeat| (now - session.last_heartbeat_at).to_std().unwrap_or_default();
    let mut silent: Vec<&SessionHeartbeat> =
        sessions.iter().filter(|session| silence(session) > session.ttl + grace).collect();
    silent.sort_by_key(|session| (session.last_heartbeat_at, session.id));
    let is_mass = sessions.len() >= FLEET_SIZE_FOR_LIMIT && silent.len() > sessions.len() / 2;
    // A grace that is over is stored until a run expires what was silent through it.
    if is_mass && history.grace_until.is_none() {
        return ExpiryDecision { expired: Vec::new(), grace_until: Some(now + ttl), is_held: true };
    }
    let expired = silent.iter().map(|session| session.id).collect();
    ExpiryDecision { expired, grace_until: None, is_held: false }
}

/// Returns the TTL for a fleet of this many sessions. It stretches so that heartbeats do not
/// outgrow the database.
pub fn stretched_ttl(ttl: Duration, sessions: u64) -> Duration {
    let stretch = sessions.div_ceil(SESSIONS_PER_TTL).clamp(1, u64::from(MAX_STRETCH));
    ttl * u32::try_from(stretch).unwrap_or(MAX_STRETCH)
}

/// Returns the time between two heartbeats: a third of the TTL, so that one may be lost.
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

    fn session(number: u128, last_heartbeat_at: i64) -> SessionHeartbeat {
        SessionHeartbeat {
            id: SessionId(Uuid::from_u128(number)),
            last_heartbeat_at: at(last_heartbeat_at),
            ttl: TTL,
        }
    }

    fn steady(now: i64) -> LoopHistory {
        LoopHistory { last_run: Some(at(now - 1)), grace_until: None }
    }

    #[test]
    fn session_expires_after_ttl_and_grace() {
        let sessions = [session(1, 964), session(2, 965), session(3, 999)];
        let expiry = expire(&sessions, steady(1000), at(1000), TTL, GRACE);
        assert_eq!(expiry.expired, [SessionId(Uuid::from_u128(1))]);
    }

    #[test]
    fn nothing_expires_for_one_ttl_after_an_outage() {
        let sessions = [session(1, 0)];
        let gap = expire(
            &sessions,
            LoopHistory { last_run: Some(at(900)), grace_until: None },
            at(1000),
            TTL,
            GRACE,
        );
        assert_eq!((gap.expired.len(), gap.grace_until), (0, Some(at(1030))));
        let history = LoopHistory { last_run: Some(at(1028)), grace_until: gap.grace_until };
        assert!(expire(&sessions, history, at(1029), TTL, GRACE).expired.is_empty());
        let history = LoopHistory { last_run: Some(at(1030)), grace_until: gap.grace_until };
        assert_eq!(expire(&sessions, history, at(1031), TTL, GRACE).expired.len(), 1);
    }

    #[test]
    fn silence_of_most_of_the_fleet_is_held_for_one_ttl() {
        let sessions: Vec<_> =
            (0..8).map(|number| session(number, if number < 5 { 10 } else { 1030 })).collect();
        let held = expire(&sessions, steady(1000), at(1000), TTL, GRACE);
        assert_eq!((held.expired.len(), held.is_held, held.grace_until), (0, true, Some(at(1030))));
        let history = LoopHistory { last_run: Some(at(1028)), grace_until: held.grace_until };
        let waiting = expire(&sessions, history, at(1029), TTL, GRACE);
        assert_eq!((waiting.expired.len(), waiting.grace_until), (0, held.grace_until));
        // Who is silent even then is gone.
        let history = LoopHistory { last_run: Some(at(1030)), grace_until: held.grace_until };
        let gone = expire(&sessions, history, at(1031), TTL, GRACE);
        assert_eq!((gone.expired.len(), gone.is_held, gone.grace_until), (5, false, None));
        // Few executors may well be gone at once.
        let expiry = expire(&sessions[..7], steady(1000), at(1000), TTL, GRACE);
        assert_eq!((expiry.expired.len(), expiry.is_held), (5, false));
    }

    #[test]
    fn session_keeps_its_promised_ttl() {
        let stretched = SessionHeartbeat { ttl: TTL * 2, ..session(1, 950) };
        assert!(expire(&[stretched], steady(1000), at(1000), TTL, GRACE).expired.is_empty());
    }

    #[test]
    fn ttl_stretches_with_the_fleet() {
        let seconds = |sessions| stretched_ttl(TTL, sessions).as_secs();
        assert_eq!([0, 1, 1000, 1001, 2500, 90_000].map(seconds), [30, 30, 30, 60, 90, 120]);
    }

    proptest! {
        #[test]
        fn session_with_recent_heartbeat_never_expires(heartbeats in vec(0..1000_i64, 0..20), last in 0..1000_i64) {
            let sessions: Vec<_> = heartbeats.iter().enumerate().map(|(number, heartbeat)| session(number as u128, *heartbeat)).collect();
            let history = LoopHistory { last_run: Some(at(last)), grace_until: None };
            for expired in expire(&sessions, history, at(1000), TTL, GRACE).expired {
                let session = sessions.iter().find(|session| session.id == expired).unwrap();
                prop_assert!((at(1000) - session.last_heartbeat_at).num_seconds() > 35);
            }
        }
    }
}

//! The session that the control plane gave this process, and the cell where everybody finds the current one.

use std::sync::Arc;
use std::time::Duration;

use orchid_proto::executor::v1 as wire;
use tokio::sync::watch;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

/// An accepted registration.
pub struct Session {
    /// Its id; also the consumer's name at the doorbell.
    pub id: Uuid,
    token: MetadataValue<Ascii>,
    /// How long it lives without a beat.
    pub ttl: Duration,
    /// How often to beat.
    pub beat_interval: Duration,
    /// Redis streams that ring for the pool.
    pub doorbell_streams: Vec<String>,
    /// The consumer group on them.
    pub doorbell_group: String,
    /// What the server allows plans.
    pub limits: Limits,
}

/// What the server allows plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A longer wait parks the run.
    pub park_after: Duration,
    /// Most bytes of a decoded body.
    pub max_body_bytes: u64,
    /// Deepest nesting of steps.
    pub max_nesting_depth: u32,
}

/// A registration's answer that makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSession {
    /// Not a UUID.
    #[error("session id {0:?} is no UUID")]
    Id(String),
    /// Not sendable.
    #[error("the session token cannot be sent in a header")]
    Token,
    /// Zero or negative.
    #[error("{field} is {value}")]
    NotPositive {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
}

impl TryFrom<wire::RegisterResponse> for Session {
    type Error = InvalidSession;

    fn try_from(answer: wire::RegisterResponse) -> Result<Session, InvalidSession> {
        let wire::RegisterResponse {
            session_id,
            session_token,
            ttl_ms,
            heartbeat_interval_ms,
            doorbell_streams,
            doorbell_group,
            park_after_ms,
            max_body_bytes,
            max_nesting_depth,
        } = answer;
        let positive = |field, value: i64| match u64::try_from(value) {
            Ok(value) if value > 0 => Ok(value),
            Ok(_) | Err(_) => Err(InvalidSession::NotPositive { field, value }),
        };
        Ok(Session {
            id: session_id.parse().map_err(|_| InvalidSession::Id(session_id))?,
            token: session_token.parse().map_err(|_| InvalidSession::Token)?,
            ttl: Duration::from_millis(positive("ttl_ms", ttl_ms)?),
            beat_interval: Duration::from_millis(positive("heartbeat_interval_ms", heartbeat_interval_ms)?),
            doorbell_streams,
            doorbell_group,
            limits: Limits {
                park_after: Duration::from_millis(positive("park_after_ms", park_after_ms)?),
                max_body_bytes: positive("max_body_bytes", max_body_bytes)?,
                max_nesting_depth: u32::try_from(max_nesting_depth).unwrap_or(1).max(1),
            },
        })
    }
}

impl Session {
    /// A request that carries the session.
    pub(crate) fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-orchid-session", self.token.clone());
        request
    }
}

/// Where everybody finds the current session, and says that it is gone.
#[derive(Clone)]
pub struct SessionCell {
    current: watch::Sender<Option<Arc<Session>>>,
}

impl Default for SessionCell {
    fn default() -> SessionCell {
        SessionCell { current: watch::Sender::new(None) }
    }
}

impl SessionCell {
    /// The current session, if there is one.
    pub fn get(&self) -> Option<Arc<Session>> {
        self.current.borrow().clone()
    }

    /// A view to wait on.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Session>>> {
        self.current.subscribe()
    }

    /// A new session.
    pub(crate) fn set(&self, session: Arc<Session>) {
        self.current.send_replace(Some(session));
    }

    /// This session is gone. Nothing happens if it is not the current one any more.
    pub fn lost(&self, id: Uuid) {
        self.current.send_if_modified(|current| {
            let same = current.as_ref().is_some_and(|session| session.id == id);
            if same {
                *current = None;
            }
            same
        });
    }

    /// Waits for a session.
    pub async fn wait(&self) -> Option<Arc<Session>> {
        let mut watch = self.watch();
        let found = watch.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> wire::RegisterResponse {
        wire::RegisterResponse {
            session_id: Uuid::from_u128(7).to_string(),
            session_token: "t".to_owned(),
            ttl_ms: 30_000,
            heartbeat_interval_ms: 10_000,
            doorbell_streams: vec!["orchid:{default:0}:jobs".to_owned()],
            doorbell_group: "executors".to_owned(),
            park_after_ms: 30_000,
            max_body_bytes: 1,
            max_nesting_depth: 5,
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_refused() {
        let wrong = wire::RegisterResponse { session_id: "7".to_owned(), ..answer() };
        assert_eq!(Session::try_from(wrong).err(), Some(InvalidSession::Id("7".to_owned())));
        let wrong = wire::RegisterResponse { ttl_ms: 0, ..answer() };
        let expected = InvalidSession::NotPositive { field: "ttl_ms", value: 0 };
        assert_eq!(Session::try_from(wrong).err(), Some(expected));
    }

    #[test]
    fn only_the_current_session_can_be_lost() {
        let cell = SessionCell::default();
        let session = Arc::new(Session::try_from(answer()).unwrap());
        cell.set(Arc::clone(&session));
        cell.lost(Uuid::from_u128(8));
        assert!(cell.get().is_some());
        cell.lost(session.id);
        assert!(cell.get().is_none());
    }
}

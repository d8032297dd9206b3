//! The session of this process, and the place where all parts find the current one.

use std::sync::Arc;
use std::time::Duration;

use orchid_proto::executor::v1 as wire;
use tokio::sync::watch;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

/// An accepted registration.
pub struct Session {
    /// Id of the session, and name of this consumer in the doorbell's group.
    pub id: Uuid,
    token: MetadataValue<Ascii>,
    /// Lifetime of the session without an accepted heartbeat.
    pub ttl: Duration,
    /// Interval between heartbeats.
    pub heartbeat_interval: Duration,
    /// Redis streams of the pool's doorbell.
    pub doorbell_streams: Vec<String>,
    /// Consumer group on these streams.
    pub doorbell_group: String,
    /// Limits that the server puts on plans.
    pub limits: PlanLimits,
}

/// Limits that the server puts on plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanLimits {
    /// Longest wait that holds a slot; a longer one parks the execution.
    pub park_after: Duration,
    /// Longest wait that an upstream may ask for; a longer one fails the execution.
    pub max_wait: Duration,
    /// Largest decoded body, in bytes.
    pub max_body_bytes: u64,
    /// Deepest nesting of steps, at least 1.
    pub max_nesting_depth: u32,
}

/// Longest wait that an upstream may ask for, if the control plane does not set one.
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A registration response with invalid values.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSession {
    /// The session id is not a UUID.
    #[error("session id {0:?} is not a UUID")]
    Id(String),
    /// The session token cannot be sent in a header.
    #[error("session token contains characters that no header may hold")]
    Token,
    /// A number is zero or negative.
    #[error("{field} is {value}, but must be positive")]
    NotPositive {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
}

impl TryFrom<wire::RegisterResponse> for Session {
    type Error = InvalidSession;

    fn try_from(response: wire::RegisterResponse) -> Result<Self, InvalidSession> {
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
            max_wait_ms,
        } = response;
        let positive = |field, value: i64| match u64::try_from(value) {
            Ok(value) if value > 0 => Ok(value),
            Ok(_) | Err(_) => Err(InvalidSession::NotPositive { field, value }),
        };
        Ok(Self {
            id: session_id.parse().map_err(|_| InvalidSession::Id(session_id))?,
            token: session_token.parse().map_err(|_| InvalidSession::Token)?,
            ttl: Duration::from_millis(positive("ttl_ms", ttl_ms)?),
            heartbeat_interval: Duration::from_millis(positive(
                "heartbeat_interval_ms",
                heartbeat_interval_ms,
            )?),
            doorbell_streams,
            doorbell_group,
            limits: PlanLimits {
                park_after: Duration::from_millis(positive("park_after_ms", park_after_ms)?),
                // An older control plane does not send it.
                max_wait: match max_wait_ms {
                    0 => DEFAULT_MAX_WAIT,
                    ms => Duration::from_millis(positive("max_wait_ms", ms)?),
                },
                max_body_bytes: positive("max_body_bytes", max_body_bytes)?,
                max_nesting_depth: u32::try_from(max_nesting_depth).unwrap_or(1).max(1),
            },
        })
    }
}

impl Session {
    /// Wraps a message into a request that carries the session token.
    pub(crate) fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-orchid-session", self.token.clone());
        request
    }
}

/// A shared cell with the current session, if there is one. Clones share it.
#[derive(Clone)]
pub struct CurrentSession {
    current: watch::Sender<Option<Arc<Session>>>,
}

impl Default for CurrentSession {
    fn default() -> Self {
        Self { current: watch::Sender::new(None) }
    }
}

impl CurrentSession {
    /// Returns the current session, if there is one.
    pub fn get(&self) -> Option<Arc<Session>> {
        self.current.borrow().clone()
    }

    /// Subscribes to changes of the session.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Session>>> {
        self.current.subscribe()
    }

    /// Sets a new session.
    pub(crate) fn set(&self, session: Arc<Session>) {
        self.current.send_replace(Some(session));
    }

    /// Clears the session because it is gone. Does nothing if a newer session is current: the news
    /// may arrive late.
    pub fn clear(&self, id: Uuid) {
        self.current.send_if_modified(|current| {
            let is_current = current.as_ref().is_some_and(|session| session.id == id);
            if is_current {
                *current = None;
            }
            is_current
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

    fn response() -> wire::RegisterResponse {
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
            max_wait_ms: 86_400_000,
        }
    }

    #[test]
    fn invalid_response_is_refused() {
        let wrong = wire::RegisterResponse { session_id: "7".to_owned(), ..response() };
        assert_eq!(Session::try_from(wrong).err(), Some(InvalidSession::Id("7".to_owned())));
        let wrong = wire::RegisterResponse { ttl_ms: 0, ..response() };
        let expected = InvalidSession::NotPositive { field: "ttl_ms", value: 0 };
        assert_eq!(Session::try_from(wrong).err(), Some(expected));
    }

    #[test]
    fn clear_ignores_a_session_that_is_not_current() {
        let cell = CurrentSession::default();
        let session = Arc::new(Session::try_from(response()).unwrap());
        cell.set(Arc::clone(&session));
        cell.clear(Uuid::from_u128(8));
        assert!(cell.get().is_some());
        cell.clear(session.id);
        assert!(cell.get().is_none());
    }
}

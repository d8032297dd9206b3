//! Executions that cannot be granted because of what is stored for them. Each ends as failed in the
//! transaction of the grant, so that it holds up no other.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, decide};

use crate::commands::executions::progress::ExecutionError;
use crate::commands::executions::transition::apply::{
    AnnouncementRoute, AppliedTransitions, apply_transitions,
};
use crate::commands::executions::transition::decided::{DecidedTransition, TransitionFacts};
use crate::commands::fleet::error::FleetError;
use crate::keys::KeyError;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked::LockedExecution;

/// The reason why an execution cannot be granted, now or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnstartableReason {
    code: &'static str,
    message: String,
}

impl UnstartableReason {
    /// Returns the reason of an execution whose plan revision or config does not exist.
    pub(super) fn definition_gone(execution: &LockedExecution) -> Self {
        let LockedExecution { plan_key, plan_revision, config_key, .. } = execution;
        Self {
            code: "DEFINITION_GONE",
            message: format!(
                "revision {plan_revision} of plan {plan_key:?}, or config {config_key:?}, no longer exists"
            ),
        }
    }

    /// Returns the reason if an error comes from what is stored for the execution; none for errors
    /// that may pass.
    pub(super) fn of(error: &FleetError) -> Option<Self> {
        match error {
            FleetError::Keys(error) => match error {
                KeyError::UnknownKey(_)
                | KeyError::Altered
                | KeyError::BadKey(_)
                | KeyError::BadKeyId(_)
                | KeyError::DuplicateKeyId(_) => {
                    Some(Self { code: "SECRETS_UNREADABLE", message: error.to_string() })
                }
                KeyError::NoRandomness => None,
            },
            FleetError::Store(StoreError::Corrupt { what, why }) => Some(Self {
                code: "STORED_STATE_UNREADABLE",
                message: format!("{what} of the execution cannot be read: {why}"),
            }),
            FleetError::Store(_)
            | FleetError::SessionEnded
            | FleetError::Invalid(_)
            | FleetError::Refused(_)
            | FleetError::Doorbell(_) => None,
        }
    }
}

/// Ends locked executions that cannot be granted.
///
/// # Errors
/// A statement fails.
pub(super) async fn end_unstartable(
    tx: &Tx,
    now: DateTime<Utc>,
    unstartable: Vec<(LockedExecution, UnstartableReason)>,
) -> Result<AppliedTransitions, StoreError> {
    let decided: Vec<DecidedTransition> = unstartable.into_iter().filter_map(decide_end).collect();
    if decided.is_empty() {
        return Ok(AppliedTransitions::default());
    }
    apply_transitions(tx, now, &decided, AnnouncementRoute::Heartbeat).await
}

fn decide_end((execution, reason): (LockedExecution, UnstartableReason)) -> Option<DecidedTransition> {
    let transition = decide(execution.snapshot(), ExecutionEvent::CannotStart).ok()?;
    let UnstartableReason { code, message } = reason;
    tracing::error!(
        execution_id = %execution.key.execution_id,
        tenant_id = %execution.key.tenant_id,
        code,
        message,
        "execution cannot be granted and fails"
    );
    let error = ExecutionError {
        class: "system".to_owned(),
        code: code.to_owned(),
        message: message.clone(),
        ..ExecutionError::default()
    };
    let facts =
        TransitionFacts { error: Some(error), partial: true, detail: message, ..TransitionFacts::default() };
    Some(DecidedTransition { execution, transition, facts })
}

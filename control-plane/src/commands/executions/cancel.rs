//! Cancels an execution. If no executor runs it, it ends at once; otherwise its executor ends it.
//! If an upstream runs a job for a waiting execution, the next executor cancels the job first. An
//! execution that has ended does not change.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{GetExecution, WHAT};
use crate::commands::executions::transition::cancel::{CancelRequest, request_cancel};
use crate::commands::{CommandError, Diagnostic};
use crate::store::db::{TenantTx, Transaction};
use crate::store::executions::Execution;
use crate::store::keys::ExecutionKey;

/// Maximum length of a reason, in bytes.
const MAX_REASON_BYTES: usize = 1000;

/// Command that cancels an execution.
pub struct CancelExecution {
    /// UUID of the execution.
    pub id: Uuid,
    /// Reason for people, kept in the history.
    pub reason: String,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

/// Result of a cancellation.
pub struct CancelOutcome {
    /// The execution after the command.
    pub execution: Execution,
    /// Whether this execution, or a pending one behind it, became ready for an executor.
    pub work_is_ready: bool,
}

impl Transaction<TenantTx> for CancelExecution {
    type Output = CancelOutcome;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<CancelOutcome, CommandError> {
        let Self { id, reason, now } = self;
        if reason.len() > MAX_REASON_BYTES {
            let message = format!("the reason has {} bytes; the limit is {MAX_REASON_BYTES}", reason.len());
            return Err(CommandError::invalid(
                "INVALID_REASON",
                Diagnostic::new("TOO_LONG", "/reason", message),
            ));
        }
        let key = ExecutionKey { tenant_id: tx.tenant_id(), execution_id: *id };
        let work_is_ready = match request_cancel(tx, *now, key, reason).await? {
            CancelRequest::Unknown => return Err(CommandError::not_found(WHAT, id)),
            CancelRequest::Ended { work_is_ready } | CancelRequest::Requested { work_is_ready } => {
                work_is_ready
            }
            CancelRequest::EndedBefore(_) => false,
        };
        Ok(CancelOutcome { execution: GetExecution { id: *id }.run(tx).await?, work_is_ready })
    }
}

//! Asks for an execution to be cancelled: at once where nobody runs it, else by an executor: the one that has it, or the next one where
//! an upstream has to be told. One that has ended stays as it ended.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{GetExecution, WHAT};
use crate::{
    commands::{
        CommandError, Diagnostic,
        executions::transition::cancel::{CancelRequest, request_cancel},
    },
    store::{
        db::{TenantTx, Transaction},
        executions::Execution,
        keys::ExecutionKey,
    },
};

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1000;

/// Which execution, and why.
pub struct CancelExecution {
    /// Its id.
    pub id: Uuid,
    /// For people; kept in the history.
    pub reason: String,
    /// When.
    pub now: DateTime<Utc>,
}

/// What came of it.
pub struct CancelOutcome {
    /// The execution as it is then.
    pub execution: Execution,
    /// It, or a run that waited behind it, is ready now.
    pub work_is_ready: bool,
}

impl Transaction<TenantTx> for CancelExecution {
    type Output = CancelOutcome;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<CancelOutcome, CommandError> {
        let Self { id, reason, now } = self;
        if reason.len() > MAX_REASON_BYTES {
            let message =
                format!("the reason has {} bytes, and at most {MAX_REASON_BYTES} are kept", reason.len());
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

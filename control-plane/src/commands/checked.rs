//! Runs commands that check a document before they write.
//!
//! A check computes, and it needs rows: the schema of a config, the plan that an update changes. So
//! such a command has three parts: a transaction that reads, a check without any transaction, and a
//! transaction that writes if what was read is still true. Otherwise all three run again.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::commands::CommandError;
use crate::commands::document_checks::DocumentChecks;
use crate::commands::idempotency::{IdempotentCommand, RequestKey, StoredResult};
use crate::store::db::{Databases, TenantTx, Transaction};

/// Maximum runs of one command whose rows others change meanwhile.
const MAX_RUNS: u32 = 8;

/// A command that checks a document before it writes.
pub trait CheckedCommand: Send + Sync + 'static {
    /// The rows that the check needs.
    type Basis: Send + Sync + 'static;
    /// The result of the check.
    type Checked: Send + Sync + 'static;
    /// The result of the command.
    type Output: Send + Sync;

    /// Reads the rows that the check needs, without locks.
    fn read(&self, tx: &TenantTx) -> impl Future<Output = Result<Self::Basis, CommandError>> + Send;

    /// Checks the document.
    ///
    /// # Errors
    /// Fails with all problems of the document.
    fn check(&self, basis: &Self::Basis) -> Result<Self::Checked, CommandError>;

    /// Writes what was checked.
    ///
    /// # Errors
    /// Fails with [`CommandError::BasisChanged`] if the rows that were read have changed since.
    fn write(
        &self,
        tx: &TenantTx,
        basis: &Self::Basis,
        checked: &Self::Checked,
    ) -> impl Future<Output = Result<Self::Output, CommandError>> + Send;
}

/// Runs a command, at most once per request id.
///
/// # Errors
/// Fails if one of its parts does, or if its rows change again and again.
pub async fn run<C>(
    databases: &Databases,
    checks: &DocumentChecks,
    tenant_id: Uuid,
    request: Option<RequestKey>,
    command: C,
) -> Result<C::Output, CommandError>
where
    C: CheckedCommand,
    C::Output: Serialize + DeserializeOwned,
{
    // A repeated request gets its first result even if the document would not pass any more.
    if let Some(request) = &request {
        let stored = StoredResult::new(request.clone());
        if let Some(done) = databases.run_tenant(tenant_id, &stored).await? {
            return Ok(done);
        }
    }
    let command = Arc::new(command);
    for _ in 0..MAX_RUNS {
        let basis = databases.run_tenant(tenant_id, &ReadPart(command.as_ref())).await?;
        let (basis, checked) = check(checks, command.clone(), basis).await?;
        let work = WritePart { command: command.as_ref(), basis: &basis, checked: &checked? };
        let write = IdempotentCommand { request: request.clone(), work };
        match databases.run_tenant(tenant_id, &write).await {
            Err(CommandError::BasisChanged) => {}
            finished => return finished,
        }
    }
    Err(CommandError::BasisChanged)
}

/// Runs a command up to its check, and returns the problems of the document instead of failing.
///
/// # Errors
/// Fails if the database does.
pub async fn validate<C: CheckedCommand>(
    databases: &Databases,
    checks: &DocumentChecks,
    tenant_id: Uuid,
    command: C,
) -> Result<C::Checked, CommandError> {
    let command = Arc::new(command);
    let basis = databases.run_tenant(tenant_id, &ReadPart(command.as_ref())).await?;
    check(checks, command, basis).await?.1
}

type CheckResult<C> = (<C as CheckedCommand>::Basis, Result<<C as CheckedCommand>::Checked, CommandError>);

async fn check<C: CheckedCommand>(
    checks: &DocumentChecks,
    command: Arc<C>,
    basis: C::Basis,
) -> Result<CheckResult<C>, CommandError> {
    checks
        .run(move || {
            let checked = command.check(&basis);
            (basis, checked)
        })
        .await
}

struct ReadPart<'c, C>(&'c C);

impl<C: CheckedCommand> Transaction<TenantTx> for ReadPart<'_, C> {
    type Output = C::Basis;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<C::Basis, CommandError> {
        self.0.read(tx).await
    }
}

struct WritePart<'c, C: CheckedCommand> {
    command: &'c C,
    basis: &'c C::Basis,
    checked: &'c C::Checked,
}

impl<C: CheckedCommand> Transaction<TenantTx> for WritePart<'_, C> {
    type Output = C::Output;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<C::Output, CommandError> {
        self.command.write(tx, self.basis, self.checked).await
    }
}

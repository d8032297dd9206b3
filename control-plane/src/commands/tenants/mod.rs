//! Tenants of the installation.

mod create;
mod rewrap;

pub use create::CreateTenant;
pub use rewrap::rewrap_data_keys;

use crate::commands::CommandError;
use crate::keys::{DataKey, MasterKeys, WrappedKey};
use crate::store::db::TenantTx;
use crate::store::tenants;

/// Returns the data key of the transaction's tenant.
///
/// # Errors
/// Fails if the tenant does not exist or its master key is unknown.
pub async fn data_key(tx: &TenantTx, keys: &MasterKeys) -> Result<DataKey, CommandError> {
    let row = tenants::data_key(tx, tx.tenant_id())
        .await?
        .ok_or_else(|| CommandError::not_found("tenant", tx.tenant_id()))?;
    Ok(keys.data_key(tx.tenant_id(), &WrappedKey { key_id: row.data_key_id, sealed: row.data_key })?)
}

//! Wraps the data keys of tenants with the current master key, so that an older one can be removed.

use uuid::Uuid;

use crate::keys::{MasterKeys, WrappedKey};
use crate::store::db::{Databases, FleetTx, Transaction};
use crate::store::error::StoreError;
use crate::store::tenants::{self, DataKeyRow};

/// Wraps at most `limit` data keys that another master key of this replica has wrapped. Returns
/// their number.
///
/// # Errors
/// Fails if the database does, or if a data key does not open.
pub async fn rewrap_data_keys(
    databases: &Databases,
    keys: &MasterKeys,
    limit: i64,
) -> Result<usize, StoreError> {
    let older: Vec<String> = keys.ids().skip(1).map(str::to_owned).collect();
    if older.is_empty() {
        return Ok(0);
    }
    let mut rewrapped = 0;
    for tenant_id in tenants::wrapped_by(databases, older, limit).await? {
        if databases.run_fleet(&RewrapDataKey { tenant_id, keys }).await? {
            rewrapped += 1;
        }
    }
    Ok(rewrapped)
}

struct RewrapDataKey<'a> {
    tenant_id: Uuid,
    keys: &'a MasterKeys,
}

impl Transaction<FleetTx> for RewrapDataKey<'_> {
    type Output = bool;
    type Error = StoreError;

    async fn run(&self, tx: &FleetTx) -> Result<bool, StoreError> {
        let Some(row) = tenants::data_key(tx, self.tenant_id).await? else { return Ok(false) };
        let before = WrappedKey { key_id: row.data_key_id, sealed: row.data_key };
        let after = self
            .keys
            .rewrap(self.tenant_id, &before)
            .map_err(|error| StoreError::corrupt("tenants.data_key", error))?;
        let after = DataKeyRow { data_key: after.sealed, data_key_id: after.key_id };
        tenants::set_data_key(tx, self.tenant_id, &before.key_id, &after).await
    }
}

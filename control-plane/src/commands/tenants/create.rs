//! Creates a tenant with its own data key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::commands::{CommandError, Diagnostic, ResourceKey};
use crate::keys::MasterKeys;
use crate::store::db::{TenantTx, Transaction};
use crate::store::tenants::{self, DataKeyRow, Tenant};

/// Command that creates a tenant.
pub struct CreateTenant {
    /// UUID of the new tenant.
    pub id: Uuid,
    /// Name shown to people.
    pub display_name: String,
    /// Pool of executors that runs its plans.
    pub pool: String,
    /// Share of the pool, 1 to 1000.
    pub weight: i32,
    /// Time of the request.
    pub now: DateTime<Utc>,
    /// Encrypts its data key.
    pub keys: Arc<MasterKeys>,
}

impl Transaction<TenantTx> for CreateTenant {
    type Output = Tenant;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Tenant, CommandError> {
        let mut diagnostics: Vec<Diagnostic> =
            ResourceKey::parse(&self.pool, "/pool").err().into_iter().collect();
        if !(1..=1000).contains(&self.weight) {
            let message = format!("weight {} is not between 1 and 1000", self.weight);
            diagnostics.push(Diagnostic::new("OUT_OF_RANGE", "/weight", message));
        }
        if !diagnostics.is_empty() {
            return Err(CommandError::invalid_document("INVALID_TENANT", "the tenant", diagnostics));
        }
        let tenant = Tenant {
            id: self.id,
            display_name: self.display_name.clone(),
            pool: self.pool.clone(),
            weight: self.weight,
            created_at: self.now,
        };
        let wrapped = self.keys.new_data_key(self.id)?;
        let key = DataKeyRow { data_key: wrapped.sealed, data_key_id: wrapped.key_id };
        if !tenants::insert(tx, &tenant, &key).await? {
            return Err(CommandError::AlreadyExists { what: "tenant", name: self.id.to_string() });
        }
        Ok(tenant)
    }
}

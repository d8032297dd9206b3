//! Creates a tenant with its own data key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::commands::{CommandError, Diagnostic, ResourceKey};
use crate::keys::MasterKeys;
use crate::store::db::{TenantTx, Transaction};
use crate::store::tenants::{self, DataKeyRow, Tenant};

/// Command that creates a tenant.
pub struct CreateTenant {
    /// UUID of the new tenant.
    pub id: Uuid,
    /// Whether the caller sent a request id, so that a repeated call gets the tenant of the first.
    pub is_repeatable: bool,
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

impl CreateTenant {
    /// Returns the tenant's id for a request id. A tenant has no log of requests before it exists,
    /// so its id itself tells a repeated call.
    pub fn id_of(request_id: Uuid) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(b"orchid create tenant");
        hash.update(request_id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// Returns the tenant that the first call with this request id created.
    async fn repeated(&self, tx: &TenantTx) -> Result<Option<Tenant>, CommandError> {
        if !self.is_repeatable {
            return Ok(None);
        }
        let Some(tenant) = tenants::own(tx).await? else { return Ok(None) };
        let asked = (&self.display_name, &self.pool, self.weight);
        if asked == (&tenant.display_name, &tenant.pool, tenant.weight) {
            return Ok(Some(tenant));
        }
        let message = "the request id was already used for a different tenant";
        let diagnostic = Diagnostic::new("REUSED", "/request_id", message);
        Err(CommandError::invalid("REQUEST_ID_REUSED", diagnostic))
    }
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
            if let Some(first) = self.repeated(tx).await? {
                return Ok(first);
            }
            return Err(CommandError::AlreadyExists { what: "tenant", name: self.id.to_string() });
        }
        Ok(tenant)
    }
}

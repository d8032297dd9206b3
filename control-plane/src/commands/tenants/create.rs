//! Creates a tenant, with a data key of its own.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    commands::{CommandError, Diagnostic, ResourceKey},
    keys::MasterKeys,
    store::{
        db::{TenantTx, Transaction},
        tenants::{self, DataKeyRow, Tenant},
    },
};

/// What to create.
pub struct CreateTenant {
    /// The id that it gets.
    pub id: Uuid,
    /// For people.
    pub display_name: String,
    /// Whose executors run its plans.
    pub pool: String,
    /// Its share.
    pub weight: i32,
    /// When.
    pub now: DateTime<Utc>,
    /// Wrap its data key.
    pub keys: Arc<MasterKeys>,
}

impl Transaction<TenantTx> for CreateTenant {
    type Output = Tenant;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Tenant, CommandError> {
        let mut diagnostics: Vec<Diagnostic> =
            ResourceKey::parse(&self.pool, "/pool").err().into_iter().collect();
        if !(1..=1000).contains(&self.weight) {
            let message = format!("{} is not within 1 and 1000", self.weight);
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

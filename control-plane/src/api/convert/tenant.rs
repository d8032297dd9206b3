//! Converts tenants.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use orchid_proto::admin::v1 as admin;
use tonic::Status;
use uuid::Uuid;

use crate::api::{convert, request};
use crate::commands::tenants::CreateTenant;
use crate::keys::MasterKeys;
use crate::store::tenants::Tenant;

const DEFAULT_POOL: &str = "default";
const DEFAULT_WEIGHT: i32 = 100;

/// Decodes a tenant to create.
pub(crate) fn create(
    request: admin::CreateTenantRequest,
    keys: Arc<MasterKeys>,
    now: DateTime<Utc>,
) -> Result<CreateTenant, Status> {
    let admin::CreateTenantRequest { id, display_name, pool, weight, request_id } = request;
    let request_id =
        request::non_empty(request_id).map(|text| request::id("/request_id", &text)).transpose()?;
    let id = request::non_empty(id).map(|text| request::id("/id", &text)).transpose()?;
    Ok(CreateTenant {
        id: id.or_else(|| request_id.map(CreateTenant::id_of)).unwrap_or_else(Uuid::now_v7),
        is_repeatable: request_id.is_some(),
        display_name,
        pool: request::non_empty(pool).unwrap_or_else(|| DEFAULT_POOL.to_owned()),
        weight: if weight == 0 { DEFAULT_WEIGHT } else { weight },
        now,
        keys,
    })
}

/// Encodes a tenant.
pub(crate) fn to_wire(row: Tenant) -> admin::Tenant {
    let Tenant { id, display_name, pool, weight, created_at } = row;
    admin::Tenant {
        id: id.to_string(),
        display_name,
        pool,
        weight,
        create_time: Some(convert::timestamp(created_at)),
    }
}

//! `orchid tenants`: for operators.

use orchid_sdk::{
    Error,
    admin::v1::{CreateTenantRequest, ListTenantsRequest, Tenant},
};
use serde_json::Value;

use crate::{
    args::{Output, TenantsCommand},
    connect::Target,
    console::Console,
    exit::Exit,
    output::{json, table::Table, text},
};

/// Runs one of the commands.
pub(crate) async fn run(
    command: TenantsCommand,
    target: &Target,
    output: Output,
    console: Console,
) -> anyhow::Result<Exit> {
    let client = target.operator().await?;
    let mut service = client.tenants();
    let tenants = match command {
        TenantsCommand::Create { display_name, id, pool } => {
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            let request = CreateTenantRequest { id, display_name, pool, ..CreateTenantRequest::default() };
            vec![service.create_tenant(request).await.map_err(Error::from)?.into_inner()]
        }
        TenantsCommand::List { limit } => {
            let request = ListTenantsRequest { page_size: limit, ..ListTenantsRequest::default() };
            service.list_tenants(request).await.map_err(Error::from)?.into_inner().tenants
        }
    };
    show(&tenants, output, console);
    Ok(Exit::Done)
}

fn show(tenants: &[Tenant], output: Output, console: Console) {
    if output == Output::Json {
        return console.line(Value::from_iter(tenants.iter().map(json::tenant)).to_string());
    }
    let mut table = Table::titled(["ID", "NAME", "POOL", "WEIGHT", "CREATED"]);
    for Tenant { id, display_name, pool, weight, create_time } in tenants {
        let (weight, created) = (weight.to_string(), text::time(create_time.as_ref()));
        table.row([id, display_name, pool, &weight, &created]);
    }
    console.print(table.render());
}

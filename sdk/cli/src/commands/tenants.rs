//! `orchid tenants`: creates and lists tenants, for operators.

use orchid_sdk::Error;
use orchid_sdk::admin::v1::{CreateTenantRequest, ListTenantsRequest, Tenant};
use serde_json::Value;

use crate::args::{OutputFormat, TenantsCommand};
use crate::connect::ConnectionTarget;
use crate::console::Console;
use crate::exit::ExitReason;
use crate::output::table::Table;
use crate::output::{json, text};

/// Runs one of the subcommands.
///
/// # Errors
/// When the control plane is unreachable or refuses the request.
pub(crate) async fn run(
    command: TenantsCommand,
    target: &ConnectionTarget,
    output: OutputFormat,
    console: Console,
) -> anyhow::Result<ExitReason> {
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
    Ok(ExitReason::Done)
}

fn show(tenants: &[Tenant], output: OutputFormat, console: Console) {
    if output == OutputFormat::Json {
        return console.line(Value::from_iter(tenants.iter().map(json::tenant)).to_string());
    }
    let mut table = Table::titled(["ID", "NAME", "POOL", "WEIGHT", "CREATED"]);
    for Tenant { id, display_name, pool, weight, create_time } in tenants {
        let (weight, created) = (weight.to_string(), text::time(create_time.as_ref()));
        table.row([id, display_name, pool, &weight, &created]);
    }
    console.print(table.render());
}

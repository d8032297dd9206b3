//! Rows in bulk: copies of a tenant's own rows, for tests of many tenants, configs or executions.
//!
//! Copies differ from their template only where they must: in their ids and keys.

use crate::client::Tenant;
use crate::database::TestDatabase;

/// Returns a statement that copies the rows of a table. `from` joins the series of the copies to
/// the table's rows `o`, and `changes` builds an object of the columns that differ.
pub fn copy(table: &str, from: &str, changes: &str) -> String {
    format!(
        "INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(o) || {changes})).* FROM {table} o, {from};"
    )
}

/// Returns an expression for the id of copy `number` of the row with this id.
pub fn copied_id(id: &str, number: &str) -> String {
    format!("(left({id}::text, 24) || lpad(to_hex({number}), 12, '0'))")
}

/// Gives each plan of a tenant `count` further configs `c1`, `c2` …, copies of the config `main`,
/// with schedules that are paused.
pub fn add_configs(database: &TestDatabase, tenant: &Tenant, count: usize) {
    let from = format!("generate_series(1, {count}) n WHERE o.tenant_id = '{}'", tenant.id);
    let id = copied_id("o.id", "n");
    let configs = copy(
        "configs",
        &format!("{from} AND o.key = 'main'"),
        &format!("jsonb_build_object('id', {id}, 'key', 'c' || n)"),
    );
    let schedules = copy(
        "schedules",
        &from,
        &format!(
            "jsonb_build_object('id', {id}, 'config_id', {}, 'paused', true, 'next_due_at', NULL)",
            copied_id("o.config_id", "n")
        ),
    );
    database.execute(&format!("{configs} {schedules} ANALYZE configs; ANALYZE schedules;"));
}

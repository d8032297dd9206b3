//! The control plane's statements keep to what plain Postgres and Citus both accept: the tenant in
//! every statement on a tenant's table, and none of what a distributed table refuses.

use std::collections::BTreeSet;

use regex::Regex;

use crate::{literals, tree};

/// Returns whether a statement only reads and locks nothing: the loops find work across tenants
/// with such statements.
fn is_find(statement: &str) -> bool {
    let upper = statement.to_uppercase();
    upper.starts_with("SELECT")
        && !upper.contains("FOR UPDATE")
        && !upper.contains("FOR NO KEY")
        && !upper.contains("FOR SHARE")
}

fn tenant_tables() -> BTreeSet<String> {
    let table = Regex::new(r"(?s)CREATE TABLE ([a-z_]+) \(\s*tenant_id ").expect("a regex");
    let mut tables = BTreeSet::new();
    for file in tree::texts() {
        if file.name.starts_with("migrations/sql/") && file.name.ends_with(".up.sql") {
            tables.extend(table.captures_iter(&file.text).map(|found| found[1].to_owned()));
        }
    }
    tables
}

struct SqlStatement {
    place: String,
    text: String,
    /// True if its file asks whether the tables are distributed, and runs it on plain Postgres
    /// alone.
    plain_only: bool,
}

fn statements() -> Vec<SqlStatement> {
    let begins = Regex::new(r"^(?i)(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\b").expect("a regex");
    let spaces = Regex::new(r"(\\\n|\s)+").expect("a regex");
    let mut found = Vec::new();
    for file in tree::sources() {
        if !file.name.starts_with("control-plane/src/") {
            continue;
        }
        let plain_only = file.text.contains(".is_distributed()");
        for (line, literal) in literals::strings(tree::before_tests(&file.text)) {
            let text = spaces.replace_all(&literal, " ").trim().to_owned();
            if begins.is_match(&text) && text.contains(' ') {
                found.push(SqlStatement { place: format!("{}:{line}", file.name), text, plain_only });
            }
        }
    }
    found
}

/// Constructs that a distributed table refuses or handles wrongly.
const REFUSED: [(&str, &str); 14] = [
    (r"\bCOPY\b", "no COPY"),
    (r"\bMERGE\b", "no MERGE"),
    (r"\b(LISTEN|NOTIFY|pg_notify)\b", "no LISTEN, no NOTIFY"),
    (r"set_config\s*\(", "set_config does not reach the workers: set_tenant()"),
    (r"INSERT INTO [^;]*\bSELECT\b[^;]*\bunnest\s*\(", "batches are inserted by VALUES"),
    (
        r"WITH [^;]*\(\s*INSERT INTO [^;]*\bSELECT\b",
        "no INSERT … SELECT beside common table expressions: select first",
    ),
    (
        r"UPDATE [^;]*\bSET\b[^;]*\b(clock_timestamp|random|gen_random_uuid|nextval)\s*\(",
        "only immutable functions in UPDATE",
    ),
    (r"INSERT INTO [^;]*\bVALUES\b[^;]*\(\s*SELECT\b", "no sub-SELECT in VALUES: select first"),
    (
        r"UPDATE [^;]*\bSET\b[^;]*\b[a-z_]+_(at|until|before)\s*[-+]\s*(interval|make_interval)",
        "a time plus or minus an interval is not immutable: times come as parameters",
    ),
    (r"\b(gen_random_uuid|uuid_generate_v4)\s*\(", "new ids come as parameters"),
    (r"ON DELETE SET NULL", "no ON DELETE SET NULL"),
    (r"\bCREATE (OR REPLACE )?TRIGGER\b", "no triggers"),
    (r"\bTRUNCATE\b", "no TRUNCATE"),
    (r"ON CONSTRAINT", "constraint names carry shard ids"),
];

#[test]
fn statements_use_the_common_sql_subset() {
    let statements = statements();
    assert!(statements.len() >= 30, "only {} statements were found", statements.len());
    let mut faults = Vec::new();
    for (pattern, reason) in REFUSED {
        let pattern = Regex::new(pattern).expect("a regex");
        let common = statements.iter().filter(|statement| !statement.plain_only);
        for statement in common.filter(|statement| pattern.is_match(&statement.text)) {
            faults.push(format!("{}: {reason}: {}", statement.place, statement.text));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn statements_on_tenant_tables_name_the_tenant() {
    let tables = tenant_tables();
    assert!(tables.len() >= 15, "{tables:?}");
    let used = Regex::new(r"(?i)\b(FROM|JOIN|INTO|UPDATE) ([a-z_]+)").expect("a regex");
    let mut faults = Vec::new();
    for statement in statements() {
        let touches: Vec<String> = used
            .captures_iter(&statement.text)
            .map(|found| found[2].to_owned())
            .filter(|table| tables.contains(table))
            .collect();
        if touches.is_empty() || is_find(&statement.text) {
            continue;
        }
        if !statement.text.contains("tenant_id") {
            faults.push(format!("{}: no tenant_id for {touches:?}: {}", statement.place, statement.text));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn functions_that_read_tenant_tables_are_not_written_in_sql() {
    // Citus plans an SQL function as part of its caller, and takes no parameter there.
    let tables = tenant_tables();
    let begins = Regex::new(r"CREATE (?:OR REPLACE )?FUNCTION ([a-z_]+)\(").expect("a regex");
    let is_sql = Regex::new(r"(?i)\bLANGUAGE sql\b").expect("a regex");
    let reads = Regex::new(r"(?i)\b(?:FROM|JOIN) ([a-z_]+)").expect("a regex");
    let (mut seen, mut faults) = (0, Vec::new());
    for file in tree::texts() {
        if !file.name.starts_with("migrations/sql/") || !file.name.ends_with(".up.sql") {
            continue;
        }
        let places: Vec<(usize, &str)> = begins
            .captures_iter(&file.text)
            .filter_map(|found| Some((found.get(0)?.start(), found.get(1)?.as_str())))
            .collect();
        let ends = places.iter().skip(1).map(|(start, _)| *start).chain([file.text.len()]);
        for ((start, name), end) in places.iter().zip(ends) {
            let function = &file.text[*start..end];
            if !is_sql.is_match(function) {
                continue;
            }
            seen += 1;
            if let Some(read) = reads.captures_iter(function).find(|read| tables.contains(&read[1])) {
                faults.push(format!("{}: {name} reads {}: write it in plpgsql", file.name, &read[1]));
            }
        }
    }
    assert!(seen >= 3, "only {seen} functions in SQL were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

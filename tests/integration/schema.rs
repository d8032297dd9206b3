//! The database schema: the schema file matches the migrations, which can be reverted; every tenant
//! table has row security; and a server refuses another version's schema.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use orchid_tests::environment::{binary, command};
use orchid_tests::{TestDatabase, database};

/// Settings for a server that must refuse to start before it uses them.
fn serve(database: &TestDatabase) -> (bool, String) {
    let output = command("timeout")
        .args(["30", binary("orchid-control-plane").to_str().expect("a name"), "serve"])
        .envs(orchid_tests::environment::server_settings())
        .envs(database.settings())
        .output()
        .expect("orchid-control-plane runs");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), said)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// Returns the schema as the statements that create it.
fn schema_of(database: &TestDatabase) -> String {
    let head = "-- What the migrations make of an empty database, kept true by a test. Nothing reads it but people.\n\n";
    format!("{head}{}\n", database.execute(include_str!("catalog.sql")))
}

/// Removes the functions that the migrations make another way on a Citus cluster.
fn without_distributed(mut schema: String) -> String {
    for function in ["placement_group", "waiting_tenants"] {
        let begin =
            schema.find(&format!("CREATE OR REPLACE FUNCTION public.{function}(")).expect("a function");
        let length = schema[begin..].find("$function$;").expect("its end");
        schema.replace_range(begin..begin + length, "");
    }
    schema
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_file_matches_the_migrations() {
    let database = database::migrated(1).await;
    let mut made = schema_of(&database);
    let file = repository().join("migrations/schema.sql");
    let mut written = std::fs::read_to_string(&file).unwrap_or_default();
    if database::is_distributed().await {
        (made, written) = (without_distributed(made), without_distributed(written));
    }
    if made != written {
        let beside = std::env::temp_dir().join("orchid-schema.sql");
        std::fs::write(&beside, &made).expect("write");
        panic!("{} is not what the migrations make, which is now in {}", file.display(), beside.display());
    }
    database.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_apply_revert_and_apply_again() {
    let database = database::empty().await;
    database.migrate(&[]).expect("up");
    let first = schema_of(&database);
    let steps = database.number("SELECT count(*) FROM seaql_migrations");
    database.migrate(&["--down", &steps.to_string()]).expect("down");
    // What belongs to an extension was there before.
    let left = "SELECT count(*) FROM pg_class c WHERE relnamespace = 'public'::regnamespace \
                AND relkind IN ('r', 'p', 'v', 'S') AND relname <> 'seaql_migrations' \
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')";
    assert_eq!(database.number(left), 0, "tables are left over");
    let functions = "SELECT count(*) FROM pg_proc p WHERE pronamespace = 'public'::regnamespace \
                     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')";
    assert_eq!(database.number(functions), 0, "functions are left over");
    database.migrate(&[]).expect("up again");
    assert_eq!(schema_of(&database), first);
    // A second run has nothing to do.
    database.migrate(&[]).expect("up twice");
    assert_eq!(schema_of(&database), first);
    database.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_refuses_an_older_or_newer_schema() {
    let database = database::empty().await;
    let (well, said) = serve(&database);
    assert!(!well && said.contains("migrate"), "an empty database: {said}");

    database.migrate(&[]).expect("up");
    let newest = database.execute("SELECT max(version) FROM seaql_migrations");
    database.migrate(&["--down", "1"]).expect("down by one");
    let (well, said) = serve(&database);
    assert!(!well && said.contains(&newest) && said.contains("older"), "an older schema: {said}");

    database.migrate(&[]).expect("up");
    // Not every step of a newer release breaks this one: `rolling` has the other case.
    database.execute("INSERT INTO seaql_migrations (version, applied_at) VALUES ('9999_of_tomorrow', 0)");
    database.execute("UPDATE schema_compatibility SET oldest_step = '9999_of_tomorrow'");
    let (well, said) = serve(&database);
    assert!(
        !well && said.contains("9999_of_tomorrow") && said.contains("newer build"),
        "a newer schema: {said}"
    );
    database.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tenant_table_forces_row_security() {
    let database = database::migrated(1).await;
    let open = database.execute(
        "SELECT c.relname FROM pg_class c \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') \
         AND (c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')) \
         AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    );
    assert_eq!(open, "", "tables without forced row security");

    // A partition needs no policy: it is only reached through its parent.
    let tables = |query: &str| database.execute(query).lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let of_tenants = tables(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
    );
    assert!(of_tenants.len() >= 14, "{of_tenants:?}");
    let closed_to_others = tables(
        "SELECT tablename FROM pg_policies WHERE 'orchid_app' = ANY (roles) \
         AND qual LIKE '%tenant_id = (NULLIF(current_setting(''orchid.tenant_id''%' AND with_check = qual",
    );
    assert_eq!(of_tenants.difference(&closed_to_others).collect::<Vec<_>>(), Vec::<&String>::new());
    let everybody = database.execute("SELECT tablename FROM pg_policies WHERE 'public' = ANY (roles)");
    assert_eq!(everybody, "", "policies for every role");
    let reachable = database.execute(
        "SELECT c.relname FROM pg_class c WHERE c.relispartition AND c.relkind = 'r' \
         AND (has_table_privilege('orchid_app', c.oid, 'SELECT') OR has_table_privilege('orchid_fleet', c.oid, 'SELECT'))",
    );
    assert_eq!(reachable, "", "partitions that a role can name");
    let mighty = database.execute(
        "SELECT rolname FROM pg_roles WHERE rolname IN ('orchid_app', 'orchid_fleet') \
         AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)",
    );
    assert_eq!(mighty, "");
    database.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_keys_begin_with_the_tenant() {
    let database = database::migrated(1).await;
    let wrong = database.execute(
        "SELECT conrelid::regclass || ' ' || conname FROM pg_constraint k \
         JOIN pg_class c ON c.oid = k.conrelid AND c.relnamespace = 'public'::regnamespace \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' \
         WHERE k.contype IN ('p', 'u', 'f') AND k.conkey[1] <> a.attnum",
    );
    assert_eq!(wrong, "", "keys of tenants' tables that do not begin with tenant_id");
    let into_history = database.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND confrelid IN \
         ('plan_executions'::regclass, 'execution_attempts'::regclass, 'execution_history'::regclass)",
    );
    assert_eq!(into_history, "", "foreign keys that point at the history");
    database.remove();
}

#[test]
fn every_migration_has_an_up_and_a_down_file() {
    let folder: PathBuf = repository().join("migrations/sql");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("migrations")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let list = std::fs::read_to_string(repository().join("migrations/src/lib.rs")).expect("the list");
    for pair in names.chunks(2) {
        let step = pair[0].trim_end_matches(".down.sql");
        assert_eq!(pair, [format!("{step}.down.sql"), format!("{step}.up.sql")]);
        assert!(list.contains(&format!("\"{step}\"")), "{step} is not in the list");
    }
}

//! Databases: one server per test run, and one database per test, cloned from a migrated template.
//!
//! With `ORCHID_TEST_POSTGRES_URL` (the URL of a superuser) no server is started, and each test
//! migrates its own database there, since a Citus cluster cannot clone one.

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use orchid_kit::servers::{PostgresOptions, PostgresServer};
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use crate::environment::{binary, command, run_folder};
use crate::eventually::{eventually, holds};

struct DatabaseServer {
    superuser: Url,
    /// The role that owns the tests' databases.
    owner: String,
    template: Option<String>,
    /// The server that this run started; it ends with this process.
    _private: Option<PostgresServer>,
}

static SERVER: OnceCell<DatabaseServer> = OnceCell::const_new();
static MIGRATION: Mutex<()> = Mutex::const_new(());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The database of one test.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    pub name: String,
    superuser: Url,
    owner: String,
}

/// Creates a migrated database with this many placement groups.
pub async fn migrated(placement_groups: u32) -> TestDatabase {
    let database = match &server().await.template {
        Some(template) => create(Some(template)).await,
        None => {
            let database = create(None).await;
            // Migrations write roles, which all databases of a server share.
            let _alone = MIGRATION.lock().await;
            database.migrate(&[]).expect("migrate");
            database
        }
    };
    // On Citus a group is a shard, and the migration has said so.
    if placement_groups > 1 && !is_citus(&database.superuser) {
        database.execute(&format!(
            "CREATE OR REPLACE FUNCTION placement_group(tenant uuid) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE \
             AS $$ SELECT abs(hashtext(tenant::text) % {placement_groups}) $$"
        ));
    }
    database
}

/// Returns the log of the server that this run started; none for an external server.
pub async fn server_log() -> Option<PathBuf> {
    server().await._private.as_ref().map(|private| private.folder().join("postgres.log"))
}

/// Returns whether the databases are distributed over a Citus cluster.
pub async fn is_distributed() -> bool {
    is_citus(&server().await.superuser)
}

/// Creates an empty database.
pub async fn empty() -> TestDatabase {
    create(None).await
}

async fn server() -> &'static DatabaseServer {
    SERVER.get_or_init(start).await
}

#[expect(clippy::disallowed_methods, reason = "the tests have no settings file")]
async fn start() -> DatabaseServer {
    if let Ok(url) = env::var("ORCHID_TEST_POSTGRES_URL") {
        let superuser = Url::parse(&url).expect("ORCHID_TEST_POSTGRES_URL is no url");
        let owner = superuser.username().to_owned();
        return DatabaseServer { superuser, owner, template: None, _private: None };
    }
    let settings = ["shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track_planning=on"];
    let settings = settings.map(str::to_owned).to_vec();
    let options = PostgresOptions { durable: false, max_connections: 400, settings };
    let private = PostgresServer::start(run_folder(), &options).await.expect("postgres starts");
    let superuser = Url::parse(&private.url("postgres", "postgres")).expect("url");
    let password = superuser.password().unwrap_or_default();
    let role = format!("CREATE ROLE orchid_owner LOGIN CREATEROLE BYPASSRLS PASSWORD '{password}'");
    // After a failed start, the next test finds the role that the first one created.
    if let Err(output) = psql(&superuser, &role) {
        assert!(output.contains("already exists"), "{output}");
    }
    let mut server = DatabaseServer {
        superuser,
        owner: "orchid_owner".to_owned(),
        template: None,
        _private: Some(private),
    };
    let template = create_on(&server, None);
    template.migrate(&[]).expect("migrate the template");
    server.template = Some(template.name);
    server
}

async fn create(template: Option<&str>) -> TestDatabase {
    create_on(server().await, template)
}

fn create_on(server: &DatabaseServer, template: Option<&str>) -> TestDatabase {
    let name = format!("orchid_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let from = template.map_or_else(String::new, |template| format!(" TEMPLATE {template}"));
    psql(&server.superuser, &format!("CREATE DATABASE {name} OWNER {}{from}", server.owner))
        .expect("create a database");
    let database = TestDatabase { name, superuser: server.superuser.clone(), owner: server.owner.clone() };
    if template.is_none() {
        join_citus(&server.superuser, &database);
    }
    database
}

/// Adds a new database to the Citus cluster of the given database, if it belongs to one. Database
/// and extension must exist on each worker first.
fn join_citus(given: &Url, database: &TestDatabase) {
    if !is_citus(given) {
        return;
    }
    database.execute("CREATE EXTENSION citus");
    let coordinator = psql(
        given,
        "SELECT format('SELECT citus_set_coordinator_host(%L, %s)', nodename, nodeport) FROM pg_dist_node WHERE groupid = 0",
    );
    for set in coordinator.expect("ask for the coordinator").lines() {
        database.execute(set);
    }
    for worker in workers(given) {
        psql(&worker, &format!("CREATE DATABASE {}", database.name)).expect("create a database on a worker");
        let mut inside = worker.clone();
        inside.set_path(&database.name);
        psql(&inside, "CREATE EXTENSION citus").expect("the extension on a worker");
        let (host, port) = (worker.host_str().unwrap_or_default(), worker.port().unwrap_or(5432));
        database.execute(&format!("SELECT citus_add_node('{host}', {port})"));
    }
}

fn is_citus(given: &Url) -> bool {
    psql(given, "SELECT 1 FROM pg_extension WHERE extname = 'citus'").expect("ask for citus") == "1"
}

/// Returns the URLs of the workers of the given database's cluster; none without one.
fn workers(given: &Url) -> Vec<Url> {
    let nodes = psql(given, "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0");
    let nodes = nodes.unwrap_or_default();
    let nodes = nodes.lines().filter_map(|line| line.split_once('|'));
    nodes
        .map(|(host, port)| {
            let mut url = given.clone();
            url.set_host(Some(host)).expect("a host can be set");
            url.set_port(port.parse().ok()).expect("a port can be set");
            url
        })
        .collect()
}

impl TestDatabase {
    /// Returns the URL for a role (`orchid_app`, `orchid_fleet`).
    pub fn url(&self, role: &str) -> String {
        let mut url = self.superuser.clone();
        url.set_path(&self.name);
        url.set_username(role).expect("a role can be set");
        url.into()
    }

    /// Returns the URL for the tables' owner.
    pub fn owner_url(&self) -> String {
        self.url(&self.owner)
    }

    /// Returns the settings that name this database, as environment variables.
    pub fn settings(&self) -> Vec<(String, String)> {
        vec![
            ("ORCHID_POSTGRES_APP_URL".to_owned(), self.url("orchid_app")),
            ("ORCHID_POSTGRES_FLEET_URL".to_owned(), self.url("orchid_fleet")),
            ("ORCHID_POSTGRES_OWNER_URL".to_owned(), self.owner_url()),
        ]
    }

    /// Runs `orchid-control-plane migrate` and returns its output.
    ///
    /// # Errors
    /// When it fails; the error is its output.
    pub fn migrate(&self, arguments: &[&str]) -> Result<String, String> {
        let output = command(binary("orchid-control-plane"))
            .arg("migrate")
            .args(arguments)
            .envs(self.settings())
            .envs(crate::environment::server_settings())
            .output()
            .expect("orchid-control-plane runs");
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// Runs statements as superuser and returns the rows as psql prints them unaligned.
    pub fn execute(&self, statements: &str) -> String {
        self.execute_as(self.superuser.username(), statements).expect("statements run")
    }

    /// Runs statements under a role and returns the rows.
    ///
    /// # Errors
    /// When a statement fails; the error is psql's output.
    pub fn execute_as(&self, role: &str, statements: &str) -> Result<String, String> {
        psql(&Url::parse(&self.url(role)).expect("url"), statements)
    }

    /// Runs statements under a role, each in a message of its own, and returns the rows of all.
    /// Citus' workers take no message with several.
    ///
    /// # Errors
    /// When a statement fails, which is the last to run; the error is psql's output.
    pub fn execute_each_as(&self, role: &str, statements: &[&str]) -> Result<String, String> {
        psql_each(&Url::parse(&self.url(role)).expect("url"), statements)
    }

    /// Runs statements as superuser in a transaction that stays open for some seconds, and returns
    /// once they have run. The thread ends with the transaction.
    pub async fn hold(&self, statements: &str, seconds: u32) -> JoinHandle<()> {
        let url = Url::parse(&self.url(self.superuser.username())).expect("url");
        let held = format!("BEGIN; {statements}; SELECT pg_sleep({seconds}); COMMIT");
        let holder = thread::spawn(move || {
            psql(&url, &held).expect("statements run");
        });
        let sleeping = "SELECT count(*) FROM pg_stat_activity \
                        WHERE datname = current_database() AND wait_event = 'PgSleep'";
        eventually("the transaction is open", async || holds(self.number(sleeping) > 0, ())).await;
        holder
    }

    /// Runs a query as superuser and returns its single number.
    pub fn number(&self, query: &str) -> i64 {
        let text = self.execute(query);
        text.parse().unwrap_or_else(|_| panic!("{query}: {text:?} is no number"))
    }

    /// Drops the database, with all connections to it.
    pub fn remove(&self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        for server in [self.superuser.clone()].into_iter().chain(workers(&self.superuser)) {
            // If the server is gone, so is the database.
            let _ = psql(&server, &drop);
        }
    }
}

/// A transaction that another client holds open. It ends when dropped.
#[derive(Debug)]
pub struct OpenTransaction {
    database: TestDatabase,
    marker: String,
    client: Child,
}

impl TestDatabase {
    /// Runs statements as superuser in a transaction that stays open, and returns once they are
    /// done.
    pub async fn hold_open(&self, statements: &str) -> OpenTransaction {
        let marker = format!("held {}", NEXT.fetch_add(1, Ordering::Relaxed));
        // One message is one transaction, which lasts as long as its last statement.
        let held = format!("{statements}; SELECT pg_sleep(600) /* {marker} */");
        let url = self.url(self.superuser.username());
        let client = Command::new("psql")
            .args([url.as_str(), "-XAtq", "-c", &held])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql runs");
        let open = OpenTransaction { database: self.clone(), marker, client };
        let sleeps = open.backend("count(*)", "AND wait_event = 'PgSleep'");
        eventually("the statements of the open transaction are done", async || {
            holds(self.number(&sleeps) == 1, self.number(&sleeps))
        })
        .await;
        open
    }
}

impl OpenTransaction {
    fn backend(&self, what: &str, condition: &str) -> String {
        let marker = &self.marker;
        format!(
            "SELECT {what} FROM pg_stat_activity WHERE query LIKE '%/* {marker} */' \
             AND pid <> pg_backend_pid() AND datname = current_database() {condition}"
        )
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        self.database.execute(&self.backend("pg_terminate_backend(pid)", ""));
        // The client ends with its backend.
        let _ = self.client.wait();
    }
}

fn psql(url: &Url, statements: &str) -> Result<String, String> {
    psql_each(url, &[statements])
}

fn psql_each(url: &Url, messages: &[&str]) -> Result<String, String> {
    let output = Command::new("psql")
        .args([url.as_str(), "-XAtq", "-v", "ON_ERROR_STOP=1"])
        .args(messages.iter().flat_map(|message| ["-c", message]))
        .output()
        .expect("psql runs: install postgresql-client");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

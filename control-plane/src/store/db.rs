//! Connections and transactions.
//!
//! A transaction belongs to one tenant, or to the fleet and then stays inside one placement group.
//! There is no other way to write to the tables, so that no statement runs without a tenant by
//! accident.
//!
//! A [`Transaction`] comes in, and its output goes out once it is committed. A conflict with
//! another transaction runs it again, a bounded number of times. A lost connection never does,
//! because it is unknown whether the commit arrived.

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, FromQueryResult, Statement, TransactionTrait as _, Value,
};
use uuid::Uuid;

use crate::store::error::StoreError;

/// Maximum runs of one transaction that conflicts with others.
const MAX_RUNS: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum prepared statements of a connection. An insert of many rows is one for each number of
/// rows.
const STATEMENTS_PER_CONNECTION: usize = 512;
/// How Postgres plans the statements of loops and executors. They name their rows by keys, so one
/// plan suits all values, and planning anew for each call would cost more than the call. Their
/// joins are short lists against keys, also while a table is new and has no statistics.
const FLEET_OPTIONS: &[(&str, &str)] = &[
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// The options on a Citus cluster, which cannot plan a statement over several shards without its
/// values.
const CITUS_FLEET_OPTIONS: &[(&str, &str)] =
    &[("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];
/// A connection that was idle for this long is tested before use: the database may have restarted.
const PING_AFTER_IDLE: Duration = Duration::from_secs(1);

/// Collects the values of a statement for the driver.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(::sea_orm::Value::from($value)),*] };
}

/// The two pools of connections: `app` for requests of users, `fleet` for loops and executors.
#[derive(Clone)]
pub struct Databases {
    app: DatabaseConnection,
    fleet: DatabaseConnection,
    /// True if the tables are distributed over the nodes of a Citus cluster.
    distributed: bool,
}

/// The work of one transaction. It may run several times, so it changes nothing but the database.
pub trait Transaction<T>: Sync {
    /// The result.
    type Output: Send;
    /// The error.
    type Error: From<StoreError> + Retryable + Send;
    /// Does the work inside a begun transaction, which is committed afterwards if the result is Ok.
    fn run(&self, tx: &T) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// An error that knows whether its transaction can run again.
pub trait Retryable {
    /// Returns whether the whole transaction can run again at once.
    fn retryable(&self) -> bool;
}

impl Retryable for StoreError {
    fn retryable(&self) -> bool {
        Self::retryable(self)
    }
}

impl Databases {
    /// Opens both pools with at most `pool_size` connections each.
    ///
    /// # Errors
    /// The database is unreachable.
    pub async fn connect(app_url: &str, fleet_url: &str, pool_size: u32) -> Result<Self, StoreError> {
        let app = open(app_url, pool_size, &[]).await?;
        let citus = "SELECT extname FROM pg_extension WHERE extname = 'citus'";
        let distributed = app.query_one_raw(statement(citus, Vec::new())).await?.is_some();
        let options = if distributed { CITUS_FLEET_OPTIONS } else { FLEET_OPTIONS };
        let fleet = open(fleet_url, pool_size, options).await?;
        Ok(Self { app, fleet, distributed })
    }

    /// Runs a transaction of one tenant, under the role that sees only this tenant's rows.
    ///
    /// # Errors
    /// The work fails, the database fails, or conflicts did not end.
    pub async fn run_tenant<W: Transaction<TenantTx>>(
        &self,
        tenant_id: Uuid,
        work: &W,
    ) -> Result<W::Output, W::Error> {
        let mut runs = 0;
        loop {
            runs += 1;
            let tx = TenantTx::begin(&self.app, tenant_id, self.distributed).await?;
            match finish(work.run(&tx).await, tx.tx).await {
                Err(error) if error.retryable() && runs < MAX_RUNS => pause(runs).await,
                finished => return finished,
            }
        }
    }

    /// Runs a transaction of the fleet's role, which sees all tenants.
    ///
    /// # Errors
    /// The work fails, the database fails, or conflicts did not end.
    pub async fn run_fleet<W: Transaction<FleetTx>>(&self, work: &W) -> Result<W::Output, W::Error> {
        let mut runs = 0;
        loop {
            runs += 1;
            let tx = FleetTx { tx: Tx::begin(&self.fleet).await? };
            match finish(work.run(&tx).await, tx.tx).await {
                Err(error) if error.retryable() && runs < MAX_RUNS => pause(runs).await,
                finished => return finished,
            }
        }
    }

    /// Reads across tenants under the fleet's role, without locks and outside a transaction.
    ///
    /// # Errors
    /// The statement fails, or a row does not parse.
    pub async fn find<R: FromQueryResult>(
        &self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<R>, StoreError> {
        let rows = self.fleet.query_all_raw(statement(sql, values)).await?;
        rows.iter().map(|row| R::from_query_result(row, "").map_err(StoreError::from)).collect()
    }

    /// Runs a single statement under the fleet's role, and returns the number of rows it touched.
    ///
    /// # Errors
    /// The statement fails.
    pub async fn execute_fleet(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(self.fleet.execute_raw(statement(sql, values)).await?.rows_affected())
    }

    /// Closes both pools. Calls that wait for a connection fail.
    pub async fn close(&self) {
        // Closing a pool of Postgres connections does not fail.
        let _ = self.app.clone().close().await;
        let _ = self.fleet.clone().close().await;
    }
}

async fn open(
    url: &str,
    pool_size: u32,
    server_options: &'static [(&'static str, &'static str)],
) -> Result<DatabaseConnection, StoreError> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(pool_size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        .statement_timeout(STATEMENT_TIMEOUT)
        .test_before_acquire_if_idle_for(PING_AFTER_IDLE)
        .set_application_name("orchid-control-plane")
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |options| {
            options
                .options(server_options.iter().copied())
                .statement_cache_capacity(STATEMENTS_PER_CONNECTION)
        });
    Ok(Database::connect(options).await?)
}

/// Commits or rolls back.
async fn finish<T, E: From<StoreError>>(result: Result<T, E>, tx: Tx) -> Result<T, E> {
    match result {
        Ok(output) => {
            tx.inner.commit().await.map_err(StoreError::from)?;
            Ok(output)
        }
        Err(error) => {
            // The caller needs this error. If the rollback fails too, the pool discards the
            // connection.
            let _ = tx.inner.rollback().await;
            Err(error)
        }
    }
}

/// Waits 2, 4, 8 … ms, so that the conflicting transaction can end.
async fn pause(runs: u32) {
    tokio::time::sleep(Duration::from_millis(1 << runs.min(8))).await;
}

/// A begun transaction, on which statements run.
pub struct Tx {
    inner: DatabaseTransaction,
}

impl Tx {
    /// Begins a transaction, in a separate task.
    ///
    /// A caller can be dropped while it waits here, by a deadline or a client that hangs up.
    /// Without the task, the pool would get back a connection with an open transaction that it does
    /// not know of. The next statement on that connection would run inside it, at its old `now()`,
    /// and would never be committed. With the task, a transaction without a caller is dropped,
    /// which rolls it back.
    #[expect(clippy::disallowed_methods, reason = "the task must outlive its caller, and ends by itself")]
    async fn begin(pool: &DatabaseConnection) -> Result<Self, StoreError> {
        let pool = pool.clone();
        let begun = tokio::spawn(async move { pool.begin().await }).await;
        let inner =
            begun.map_err(|stopped| DbErr::Custom(format!("cannot begin a transaction: {stopped}")))??;
        Ok(Self { inner })
    }

    /// Limits the time that each following statement of the transaction waits for a lock. Beyond it
    /// the statement fails as unavailable.
    ///
    /// # Errors
    /// The statement fails.
    pub async fn limit_lock_wait(&self, at_most: Duration) -> Result<(), StoreError> {
        // SET takes no parameters, and `set_config` would not reach the workers of Citus.
        let sql = format!("SET LOCAL lock_timeout = {}", at_most.as_millis());
        self.execute(&sql, Vec::new()).await?;
        Ok(())
    }

    /// Runs a statement, and returns the number of rows it touched.
    ///
    /// # Errors
    /// The statement fails.
    pub async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(self.inner.execute_raw(statement(sql, values)).await?.rows_affected())
    }

    /// Returns the first row of a statement, if there is one.
    ///
    /// # Errors
    /// The statement fails, or the row does not parse.
    pub async fn one<R: FromQueryResult>(
        &self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Option<R>, StoreError> {
        let row = self.inner.query_one_raw(statement(sql, values)).await?;
        row.map(|row| R::from_query_result(&row, "").map_err(StoreError::from)).transpose()
    }

    /// Returns all rows of a statement. The statement bounds their number.
    ///
    /// # Errors
    /// The statement fails, or a row does not parse.
    pub async fn all<R: FromQueryResult>(&self, sql: &str, values: Vec<Value>) -> Result<Vec<R>, StoreError> {
        let rows = self.inner.query_all_raw(statement(sql, values)).await?;
        rows.iter().map(|row| R::from_query_result(row, "").map_err(StoreError::from)).collect()
    }
}

/// A transaction of one tenant, under the role that sees only the tenant's rows.
pub struct TenantTx {
    tx: Tx,
    tenant_id: Uuid,
    distributed: bool,
}

impl TenantTx {
    async fn begin(
        pool: &DatabaseConnection,
        tenant_id: Uuid,
        distributed: bool,
    ) -> Result<Self, StoreError> {
        let tx = Tx::begin(pool).await?;
        // A separate statement: on a distributed database, a setting made together with other work
        // does not reach the workers.
        tx.execute("SELECT set_tenant($1)", values![tenant_id]).await?;
        Ok(Self { tx, tenant_id, distributed })
    }

    /// Returns the tenant of the transaction.
    pub fn tenant_id(&self) -> Uuid {
        self.tenant_id
    }

    /// Returns whether the tables are distributed over the nodes of a Citus cluster, which refuses
    /// some statements that plain Postgres runs.
    pub fn is_distributed(&self) -> bool {
        self.distributed
    }
}

impl Deref for TenantTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

/// A transaction of loops and executors. Every statement on a table of tenants names one tenant or
/// the tenants of one placement group.
pub struct FleetTx {
    tx: Tx,
}

impl Deref for FleetTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

fn statement(sql: &str, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

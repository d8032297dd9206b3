//! Connections and transactions. A transaction belongs to one tenant, or is the fleet's and keeps to one placement group; it is
//! the only way to the tables, so that no statement runs without a tenant by accident.
//!
//! What comes in is a [`Transaction`], what goes out is its result, once committed. A conflict with another transaction runs the work
//! again, a bounded number of times; a lost connection never does, because nobody knows whether the commit arrived.

use std::{future::Future, ops::Deref, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, FromQueryResult, Statement, TransactionTrait as _, Value,
};
use uuid::Uuid;

use crate::store::error::StoreError;

/// How often a transaction is run in all, when it meets others.
const MAX_RUNS: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that lay idle this long is tried before it is used: the database may have restarted.
const PING_AFTER_IDLE: Duration = Duration::from_secs(1);

/// The values of a statement, each turned into what the driver takes.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(::sea_orm::Value::from($value)),*] };
}

/// The two pools of connections: for requests of users, and for loops and executors.
#[derive(Clone)]
pub struct Databases {
    app: DatabaseConnection,
    fleet: DatabaseConnection,
}

/// What one transaction does. It may run several times, so it changes nothing but the database.
pub trait Transaction<T>: Sync {
    /// What it comes to.
    type Output: Send;
    /// How it fails.
    type Error: From<StoreError> + Retryable + Send;
    /// Does the work inside a transaction that is begun, and committed afterwards if the answer is Ok.
    fn run(&self, tx: &T) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// An error that knows whether its transaction can be run again.
pub trait Retryable {
    /// Whether the whole transaction may be run again at once.
    fn retryable(&self) -> bool;
}

impl Retryable for StoreError {
    fn retryable(&self) -> bool {
        Self::retryable(self)
    }
}

impl Databases {
    /// Opens both pools, each of at most `pool_size` connections, and fails if the database cannot be reached.
    pub async fn connect(app_url: &str, fleet_url: &str, pool_size: u32) -> Result<Self, StoreError> {
        let app = open(app_url, pool_size).await?;
        let fleet = open(fleet_url, pool_size).await?;
        Ok(Self { app, fleet })
    }

    /// Runs work in a transaction of one tenant, under the role that sees only the tenant's rows.
    pub async fn run_tenant<W: Transaction<TenantTx>>(
        &self,
        tenant_id: Uuid,
        work: &W,
    ) -> Result<W::Output, W::Error> {
        let mut runs = 0;
        loop {
            runs += 1;
            let tx = TenantTx::begin(&self.app, tenant_id).await?;
            match settle(work.run(&tx).await, tx.tx).await {
                Err(fault) if fault.retryable() && runs < MAX_RUNS => pause(runs).await,
                settled => return settled,
            }
        }
    }

    /// Runs work in a transaction of the fleet's role, which sees all tenants.
    pub async fn run_fleet<W: Transaction<FleetTx>>(&self, work: &W) -> Result<W::Output, W::Error> {
        let mut runs = 0;
        loop {
            runs += 1;
            let tx = FleetTx { tx: Tx::begin(&self.fleet).await? };
            match settle(work.run(&tx).await, tx.tx).await {
                Err(fault) if fault.retryable() && runs < MAX_RUNS => pause(runs).await,
                settled => return settled,
            }
        }
    }

    /// Reads across tenants, without locks and outside a transaction, under the fleet's role.
    pub async fn find<R: FromQueryResult>(
        &self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<R>, StoreError> {
        let rows = self.fleet.query_all_raw(statement(sql, values)).await?;
        rows.iter().map(|row| R::from_query_result(row, "").map_err(StoreError::from)).collect()
    }

    /// Runs one statement of its own under the fleet's role; answers how many rows it touched.
    pub async fn execute_fleet(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(self.fleet.execute_raw(statement(sql, values)).await?.rows_affected())
    }

    /// Closes both pools; what waits for a connection fails.
    pub async fn close(&self) {
        // Closing a pool does not fail for Postgres; a second close is nothing.
        let _ = self.app.clone().close().await;
        let _ = self.fleet.clone().close().await;
    }
}

async fn open(url: &str, pool_size: u32) -> Result<DatabaseConnection, StoreError> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(pool_size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        .statement_timeout(STATEMENT_TIMEOUT)
        .test_before_acquire_if_idle_for(PING_AFTER_IDLE)
        .set_application_name("orchid-control-plane")
        .sqlx_logging(false);
    Ok(Database::connect(options).await?)
}

async fn settle<T, E: From<StoreError>>(answer: Result<T, E>, tx: Tx) -> Result<T, E> {
    match answer {
        Ok(done) => {
            tx.inner.commit().await.map_err(StoreError::from)?;
            Ok(done)
        }
        Err(fault) => {
            // The fault is what the caller must hear; a rollback that fails leaves a connection that the pool throws away.
            let _ = tx.inner.rollback().await;
            Err(fault)
        }
    }
}

/// Waits 2, 4, 8 … ms, so that the transaction it met has ended.
async fn pause(runs: u32) {
    tokio::time::sleep(Duration::from_millis(1 << runs.min(8))).await;
}

/// A transaction that is begun: what statements run on.
pub struct Tx {
    inner: DatabaseTransaction,
}

impl Tx {
    /// Begins on a task of its own. A caller that goes away in the middle (a deadline, a client that hangs up) would otherwise put
    /// a connection back into the pool whose transaction is open and unknown: the next user's statement would run in it, at its
    /// old `now()`, and be committed by nobody. A transaction that is begun for nobody is rolled back by being dropped.
    #[expect(clippy::disallowed_methods, reason = "the task must outlive its caller, and ends by itself")]
    async fn begin(pool: &DatabaseConnection) -> Result<Self, StoreError> {
        let pool = pool.clone();
        let begun = tokio::spawn(async move { pool.begin().await }).await;
        let inner =
            begun.map_err(|stopped| DbErr::Custom(format!("cannot begin a transaction: {stopped}")))??;
        Ok(Self { inner })
    }

    /// Runs a statement; answers how many rows it touched.
    pub async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(self.inner.execute_raw(statement(sql, values)).await?.rows_affected())
    }

    /// The first row of a statement, if there is one.
    pub async fn one<R: FromQueryResult>(
        &self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Option<R>, StoreError> {
        let row = self.inner.query_one_raw(statement(sql, values)).await?;
        row.map(|row| R::from_query_result(&row, "").map_err(StoreError::from)).transpose()
    }

    /// All rows of a statement; bound it by a LIMIT.
    pub async fn all<R: FromQueryResult>(&self, sql: &str, values: Vec<Value>) -> Result<Vec<R>, StoreError> {
        let rows = self.inner.query_all_raw(statement(sql, values)).await?;
        rows.iter().map(|row| R::from_query_result(row, "").map_err(StoreError::from)).collect()
    }
}

/// A transaction of one tenant, under the role that sees only the tenant's rows.
pub struct TenantTx {
    tx: Tx,
    tenant_id: Uuid,
}

impl TenantTx {
    async fn begin(pool: &DatabaseConnection, tenant_id: Uuid) -> Result<Self, StoreError> {
        let tx = Tx::begin(pool).await?;
        // A statement of its own: on a distributed database a setting made beside other work does not reach the workers.
        tx.execute("SELECT set_tenant($1)", values![tenant_id]).await?;
        Ok(Self { tx, tenant_id })
    }

    /// Whose transaction it is.
    pub fn tenant_id(&self) -> Uuid {
        self.tenant_id
    }
}

impl Deref for TenantTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

/// A transaction of loops and executors. Every statement on a tenant's table names one tenant, or one placement group.
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

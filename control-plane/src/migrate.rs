//! The `migrate` command: brings the schema up, or steps of it down, and gives the roles of the server their passwords. It is the
//! only part that uses the owner's url.

use std::time::Duration;

use orchid_kit::settings::Secret;
use orchid_migrations::Migrator;
use percent_encoding::percent_decode_str;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, DbErr, Statement, Value,
};
use sea_orm_migration::MigratorTrait as _;
use url::Url;

use crate::settings::MigrateSettings;

/// The lock that lets one migration run at a time on a database.
const LOCK: i64 = 0x006f_7263_6869_6400;
const PASSWORD_TRIES: u32 = 10;

/// The schema could not be brought where it should be.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database refused.
    #[error("cannot migrate: {0}")]
    Database(#[from] DbErr),
    /// A url of the settings does not read.
    #[error("{setting} is not a url: {source}")]
    Url {
        /// Which one.
        setting: &'static str,
        /// Why.
        source: url::ParseError,
    },
    /// A url of the settings names a role that the schema does not serve.
    #[error("{setting} must connect as {role}, and connects as {user:?}")]
    Role {
        /// Which one.
        setting: &'static str,
        /// Whom it must name.
        role: &'static str,
        /// Whom it names.
        user: String,
    },
}

/// Runs all steps that are missing, or the way down of the last `down` ones.
pub async fn run(settings: &MigrateSettings, down: Option<u32>) -> Result<(), MigrateError> {
    let passwords = [
        password("postgres.app_url", "orchid_app", settings.app_url.as_ref())?,
        password("postgres.fleet_url", "orchid_fleet", settings.fleet_url.as_ref())?,
    ];
    let mut options = ConnectOptions::new(settings.owner_url.expose());
    // One connection: the lock below belongs to it.
    options.max_connections(1).sqlx_logging(false);
    let database = Database::connect(options).await?;
    // "relation exists, skipping" is no news.
    database.execute_unprepared("SET client_min_messages = warning").await?;
    database.execute_raw(statement("SELECT pg_advisory_lock($1)", [LOCK.into()])).await?;
    match down {
        Some(steps) => Migrator::down(&database, Some(steps)).await?,
        None => {
            Migrator::up(&database, None).await?;
            for (role, password) in passwords.into_iter().flatten() {
                set_password(&database, role, &password).await?;
            }
        }
    }
    let done = Migrator::get_applied_migrations(&database).await?.len();
    tracing::info!(steps = done, "schema is at step {done}");
    database.close().await?;
    Ok(())
}

/// The role and its password, where the url has one.
fn password(
    setting: &'static str,
    role: &'static str,
    url: Option<&Secret>,
) -> Result<Option<(&'static str, Secret)>, MigrateError> {
    let Some(url) = url else { return Ok(None) };
    let url = Url::parse(url.expose()).map_err(|source| MigrateError::Url { setting, source })?;
    if url.username() != role {
        return Err(MigrateError::Role { setting, role, user: url.username().to_owned() });
    }
    Ok(url.password().map(|text| (role, Secret::new(percent_decode_str(text).decode_utf8_lossy()))))
}

/// Roles belong to the whole cluster, so another database's migration may set the same password at the same time; Postgres then
/// refuses one of the two ("tuple concurrently updated").
async fn set_password(database: &DatabaseConnection, role: &str, password: &Secret) -> Result<(), DbErr> {
    let build = statement(
        "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)",
        [role.into(), password.expose().into()],
    );
    let row = database.query_one_raw(build).await?;
    let sql: String = row.ok_or_else(|| DbErr::RecordNotFound(role.to_owned()))?.try_get_by_index(0)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match database.execute_unprepared(&sql).await {
            Ok(_) => return Ok(()),
            Err(_) if tries < PASSWORD_TRIES => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error),
        }
    }
}

fn statement<const N: usize>(sql: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(url: &str) -> Result<Option<(&'static str, Secret)>, MigrateError> {
        password("postgres.app_url", "orchid_app", Some(&Secret::new(url)))
    }

    #[test]
    fn a_url_of_another_role_is_refused() {
        let error = app("postgres://postgres:x@h/d").err().unwrap();
        assert_eq!(
            error.to_string(),
            "postgres.app_url must connect as orchid_app, and connects as \"postgres\""
        );
    }

    #[test]
    fn a_password_is_decoded_and_may_be_missing() {
        let (role, password) = app("postgres://orchid_app:a%2Fb@h/d").unwrap().unwrap();
        assert_eq!((role, password.expose()), ("orchid_app", "a/b"));
        assert!(app("postgres://orchid_app@h/d").unwrap().is_none());
    }
}

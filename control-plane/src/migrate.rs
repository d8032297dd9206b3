//! The `migrate` command: migrates the schema up, or some steps down, and sets the passwords of the
//! server's roles. It is the only part that connects as the schema's owner.

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

/// Advisory lock that allows one migration at a time per database.
const LOCK: i64 = 0x006f_7263_6869_6400;
const PASSWORD_TRIES: u32 = 10;

/// A failed migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database refused a statement.
    #[error("cannot migrate: {0}")]
    Database(#[from] DbErr),
    /// A URL of the settings cannot be parsed.
    #[error("{setting} is not a URL: {source}")]
    Url {
        /// Name of the setting.
        setting: &'static str,
        /// Cause.
        source: url::ParseError,
    },
    /// A URL of the settings names another role than the one that the schema grants rights to.
    #[error("{setting} must use role {role}, but uses {user:?}")]
    Role {
        /// Name of the setting.
        setting: &'static str,
        /// Required role.
        role: &'static str,
        /// Role in the URL.
        user: String,
    },
}

/// Applies all missing steps, or reverts the last `down` steps.
///
/// # Errors
/// Fails if a URL of the settings is unusable, or if the database refuses a statement.
pub async fn run(settings: &MigrateSettings, down: Option<u32>) -> Result<(), MigrateError> {
    let passwords = [
        password("postgres.app_url", "orchid_app", settings.app_url.as_ref())?,
        password("postgres.fleet_url", "orchid_fleet", settings.fleet_url.as_ref())?,
    ];
    let mut options = ConnectOptions::new(settings.owner_url.expose());
    // The advisory lock belongs to a connection, so all statements must use the same one.
    options.max_connections(1).sqlx_logging(false);
    let database = Database::connect(options).await?;
    // Suppresses notices such as "relation exists, skipping".
    database.execute_unprepared("SET client_min_messages = warning").await?;
    database.execute_raw(statement("SELECT pg_advisory_lock($1)", [LOCK.into()])).await?;
    match down {
        Some(steps) => {
            Migrator::down(&database, Some(steps)).await?;
            record_oldest_step(&database, false).await?;
        }
        None => {
            // Before the steps: no old replica may serve while a step that breaks it is applied.
            record_oldest_step(&database, true).await?;
            Migrator::up(&database, None).await?;
            record_oldest_step(&database, true).await?;
            for (role, password) in passwords.into_iter().flatten() {
                set_password(&database, role, &password).await?;
            }
        }
    }
    let done = Migrator::get_applied_migrations(&database).await?.len();
    tracing::info!(steps = done, "schema is up to date");
    database.close().await?;
    Ok(())
}

/// Records the oldest build that the schema serves: with all steps of this build, or with those
/// that are applied. Does nothing on a schema from before that was recorded.
async fn record_oldest_step(database: &DatabaseConnection, all: bool) -> Result<(), DbErr> {
    let exists = statement("SELECT to_regclass('schema_compatibility') IS NOT NULL", []);
    let row = database.query_one_raw(exists).await?;
    let is_recorded = row.map(|row| row.try_get_by_index::<bool>(0)).transpose()?.unwrap_or(false);
    if !is_recorded {
        return Ok(());
    }
    let oldest = if all {
        orchid_migrations::oldest_served_step(orchid_migrations::step_names())
    } else {
        let applied = Migrator::get_applied_migrations(database).await?;
        orchid_migrations::oldest_served_step(applied.iter().map(|step| step.name()))
    };
    let Some(oldest) = oldest else { return Ok(()) };
    let record = "INSERT INTO schema_compatibility (oldest_step) VALUES ($1)
         ON CONFLICT (only_row) DO UPDATE SET oldest_step = excluded.oldest_step";
    database.execute_raw(statement(record, [oldest.into()])).await?;
    Ok(())
}

/// Returns the role with the password of its URL, if the URL has one.
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

/// Sets the password of a role. Roles belong to the whole cluster: the migration of another
/// database may set the same password at the same time, and Postgres then refuses one of the two
/// ("tuple concurrently updated"). Hence the retries.
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
    fn url_with_wrong_role_is_refused() {
        let error = app("postgres://postgres:x@h/d").err().unwrap();
        assert_eq!(error.to_string(), "postgres.app_url must use role orchid_app, but uses \"postgres\"");
    }

    #[test]
    fn password_is_decoded_and_optional() {
        let (role, password) = app("postgres://orchid_app:a%2Fb@h/d").unwrap().unwrap();
        assert_eq!((role, password.expose()), ("orchid_app", "a/b"));
        assert!(app("postgres://orchid_app@h/d").unwrap().is_none());
    }
}

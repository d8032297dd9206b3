//! What can go wrong at the database, told apart by SQLSTATE. Constraint names are never looked at: on a distributed database
//! they carry the number of a shard.

use sea_orm::{DbErr, RuntimeErr, SqlxError};

/// An error of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Two transactions met (40001, 40P01). The transaction can be run again at once.
    #[error("transaction conflict: {0}")]
    Conflict(DbErr),
    /// The rows of a group no longer lie together (0A000): a shard moved. Find the groups again, then retry.
    #[error("placement group is stale: {0}")]
    StaleGroup(DbErr),
    /// The database cannot be reached, is starting or stopping, or has no connection to spare.
    #[error("database is unavailable: {0}")]
    Unavailable(DbErr),
    /// A unique key is taken (23505).
    #[error("unique key is taken: {0}")]
    UniqueViolation(DbErr),
    /// A row that is pointed at is missing, or one that is to go is pointed at (23503).
    #[error("foreign key is violated: {0}")]
    ForeignKey(DbErr),
    /// A row does not read as it should: the schema and this build disagree.
    #[error("row of {what} does not read: {why}")]
    Corrupt {
        /// Which kind of row or column.
        what: &'static str,
        /// How it fails.
        why: String,
    },
    /// Anything else: a fault of this program.
    #[error("statement failed: {0}")]
    Failed(DbErr),
}

impl StoreError {
    /// Whether the whole transaction may be run again at once, with a hope of success.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Conflict(_) => true,
            Self::StaleGroup(_)
            | Self::Unavailable(_)
            | Self::UniqueViolation(_)
            | Self::ForeignKey(_)
            | Self::Corrupt { .. }
            | Self::Failed(_) => false,
        }
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Conflict(_) | Self::StaleGroup(_) | Self::Unavailable(_) => true,
            Self::UniqueViolation(_) | Self::ForeignKey(_) | Self::Corrupt { .. } | Self::Failed(_) => false,
        }
    }

    /// A row that does not read.
    pub fn corrupt(what: &'static str, why: impl ToString) -> Self {
        Self::Corrupt { what, why: why.to_string() }
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match sqlstate(&error).as_deref() {
            Some("40001" | "40P01") => Self::Conflict(error),
            Some("0A000") => Self::StaleGroup(error),
            Some("23505") => Self::UniqueViolation(error),
            Some("23503") => Self::ForeignKey(error),
            Some("57014" | "57P01" | "57P02" | "57P03" | "53300" | "25006") => Self::Unavailable(error),
            Some(state) if state.starts_with("08") => Self::Unavailable(error),
            Some(_) => Self::Failed(error),
            None if is_connection_fault(&error) => Self::Unavailable(error),
            None => Self::Failed(error),
        }
    }
}

fn sqlx_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(inner))
        | DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner)) => Some(inner),
        _ => None,
    }
}

fn sqlstate(error: &DbErr) -> Option<String> {
    match sqlx_error(error)? {
        SqlxError::Database(inner) => inner.code().map(|code| code.into_owned()),
        _ => None,
    }
}

fn is_connection_fault(error: &DbErr) -> bool {
    if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) {
        return true;
    }
    matches!(
        sqlx_error(error),
        Some(
            SqlxError::Io(_)
                | SqlxError::Tls(_)
                | SqlxError::Protocol(_)
                | SqlxError::PoolTimedOut
                | SqlxError::PoolClosed
                | SqlxError::WorkerCrashed
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_without_a_free_connection_is_unavailable_and_not_retried_in_place() {
        let error = StoreError::from(DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout));
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(error.is_transient());
        assert!(!error.retryable());
    }

    #[test]
    fn an_error_without_a_state_is_a_fault_of_the_program() {
        let error = StoreError::from(DbErr::Type("no such column".to_owned()));
        assert!(matches!(error, StoreError::Failed(_)));
        assert!(!error.is_transient());
    }
}

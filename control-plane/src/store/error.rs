//! Errors of the database, distinguished by SQLSTATE. Constraint names are never compared: on a
//! distributed database they contain the number of a shard.

use sea_orm::{DbErr, RuntimeErr, SqlxError};

/// An error of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Two transactions conflicted (40001, 40P01). The transaction can run again at once.
    #[error("transaction conflict: {0}")]
    Conflict(DbErr),
    /// The database refuses the statement (0A000): the rows of a placement group are not on one
    /// shard any more, because a shard moved, or a distributed database cannot run it at all. The
    /// groups have to be looked up again; if that does not help, the statement is at fault.
    #[error("statement is refused, or its placement group is stale: {0}")]
    StaleGroup(DbErr),
    /// The database is unreachable, starting or stopping, or out of connections, or a lock was not
    /// to be had in time.
    #[error("database is unavailable: {0}")]
    Unavailable(DbErr),
    /// The statement ran longer than the server allows (57014), for example a list whose filter
    /// matches few of many rows. The same statement would run as long again.
    #[error("statement ran too long: {0}")]
    Timeout(DbErr),
    /// A unique key exists already (23505).
    #[error("unique key exists already: {0}")]
    UniqueViolation(DbErr),
    /// A referenced row does not exist, or a row to delete is referenced (23503).
    #[error("foreign key is violated: {0}")]
    ForeignKey(DbErr),
    /// A row does not parse: the schema and this build disagree.
    #[error("row of {what} does not parse: {why}")]
    Corrupt {
        /// Kind of the row or column.
        what: &'static str,
        /// Reason.
        why: String,
    },
    /// Any other error, which is a bug of this program.
    #[error("statement failed: {0}")]
    Failed(DbErr),
}

impl StoreError {
    /// Returns whether the whole transaction can run again at once and may succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Conflict(_) => true,
            Self::StaleGroup(_)
            | Self::Unavailable(_)
            | Self::Timeout(_)
            | Self::UniqueViolation(_)
            | Self::ForeignKey(_)
            | Self::Corrupt { .. }
            | Self::Failed(_) => false,
        }
    }

    /// Returns whether the same call may succeed later by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Conflict(_) | Self::StaleGroup(_) | Self::Unavailable(_) => true,
            Self::Timeout(_)
            | Self::UniqueViolation(_)
            | Self::ForeignKey(_)
            | Self::Corrupt { .. }
            | Self::Failed(_) => false,
        }
    }

    /// Returns the SQLSTATE with which the database refused a statement; none if it did not.
    pub fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Conflict(error)
            | Self::StaleGroup(error)
            | Self::Unavailable(error)
            | Self::Timeout(error)
            | Self::UniqueViolation(error)
            | Self::ForeignKey(error)
            | Self::Failed(error) => sqlstate(error),
            Self::Corrupt { .. } => None,
        }
    }

    /// Creates the error of a row that does not parse.
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
            Some("57014") => Self::Timeout(error),
            Some("57P01" | "57P02" | "57P03" | "53300" | "55P03" | "25006") => Self::Unavailable(error),
            Some(state) if state.starts_with("08") => Self::Unavailable(error),
            Some(_) => Self::Failed(error),
            None if is_connection_error(&error) => Self::Unavailable(error),
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

fn is_connection_error(error: &DbErr) -> bool {
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
    fn exhausted_pool_is_unavailable_and_not_retried_at_once() {
        let error = StoreError::from(DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout));
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(error.is_transient());
        assert!(!error.retryable());
    }

    #[test]
    fn error_without_sqlstate_is_a_bug() {
        let error = StoreError::from(DbErr::Type("no such column".to_owned()));
        assert!(matches!(error, StoreError::Failed(_)));
        assert!(!error.is_transient());
    }
}

//! A row of one text column, for queries that list keys or ids.

/// A row with the single column `name`.
#[derive(sea_orm::FromQueryResult)]
pub(crate) struct NameRow {
    pub(crate) name: String,
}

//! Rows, one at a time.
use bytes::Bytes;
use orchid_plan::{PlainPath, RawRows, Value};

use super::DecodeError;

pub(crate) enum NextRow {
    Row(Bytes),
    NeedMore,
    End,
}
pub(crate) struct RowDecoder;
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RowsError(String);
pub(crate) enum Rows {
    Raw(std::vec::IntoIter<Bytes>),
    Values(Value, usize),
    Stream(RowDecoder),
}
impl Rows {
    pub(crate) fn raw(text: &Bytes, path: &PlainPath) -> Result<Rows, RowsError> {
        let found = RawRows::find(text, path).map_err(|error| RowsError(error.to_string()))?;
        let rows: Vec<Bytes> = found.rows.into_iter().map(|row| text.slice_ref(row)).collect();
        Ok(Rows::Raw(rows.into_iter()))
    }
    pub(crate) fn values(list: Value) -> Result<Rows, RowsError> {
        if list.is_null() {
            return Ok(Rows::Values(Value::list([]), 0));
        }
        if list.items().is_none() {
            return Err(RowsError(format!("the rows are of type {}, not a list", list.kind())));
        }
        Ok(Rows::Values(list, 0))
    }
    pub(crate) fn stream(decoder: RowDecoder) -> Rows {
        Rows::Stream(decoder)
    }
    pub(crate) fn next(&mut self) -> Result<NextRow, DecodeError> {
        Ok(match self {
            Rows::Raw(rows) => rows.next().map_or(NextRow::End, NextRow::Row),
            Rows::Values(list, at) => {
                if *at >= list.length().unwrap_or_default() {
                    return Ok(NextRow::End);
                }
                *at += 1;
                NextRow::Row(list.index(*at - 1).to_json().into())
            }
            Rows::Stream(_) => NextRow::NeedMore,
        })
    }
    pub(crate) fn feed(&mut self, _piece: &[u8]) {}
    pub(crate) fn finish(&mut self) {}
}

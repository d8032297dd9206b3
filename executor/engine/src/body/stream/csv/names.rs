//! The names of fields, and the rows that they make of records: objects, or lists without names.

use std::collections::HashMap;

use orchid_plan::{CsvHeader, CsvRules, RaggedRows};

use super::records::Record;

/// Member with the fields for which the header has no name.
const EXTRA: &str = "_extra";
/// Correction for records of another length than the header.
const RAGGED_CURE: &str = "response.csv.skip_rows leaves out lines above the header, skip_footer lines below the \
                           rows, and ragged: fill allows rows of any length";

/// The names of the fields, and the treatment of records that have more or fewer.
pub(super) struct FieldNames {
    names: NameSource,
    ragged: RaggedRows,
}

enum NameSource {
    /// The first record, not read yet, has the names.
    Pending,
    /// Names as JSON members, `"name":`.
    Known(Vec<Vec<u8>>),
    /// No names: a row is a list with as many fields as the first one.
    None { fields: Option<usize> },
}

impl FieldNames {
    /// Creates the names that the plan gives.
    ///
    /// # Errors
    /// If the plan gives a name twice, which the text describes.
    pub(super) fn new(rules: &CsvRules) -> Result<Self, String> {
        let mut names = Self { names: NameSource::Pending, ragged: rules.ragged };
        match &rules.header {
            CsvHeader::First => {}
            CsvHeader::None => names.names = NameSource::None { fields: None },
            CsvHeader::Names(given) => {
                names.names = NameSource::Known(names.json_names(given.iter().map(String::as_str))?);
            }
        }
        Ok(names)
    }

    /// Appends a record to `row` as JSON. Returns false if it is the header.
    ///
    /// # Errors
    /// If the record does not fit.
    pub(super) fn write(&mut self, record: &Record<'_>, row: &mut Vec<u8>) -> Result<bool, RowError> {
        let split = || "is split inside a character: delimiter and quote must be ASCII".to_owned();
        let fields = record.fields().ok_or_else(split)?;
        let count = record.field_count();
        match &mut self.names {
            NameSource::Pending => {
                self.names = NameSource::Known(self.json_names(fields)?);
                return Ok(false);
            }
            NameSource::Known(names) => {
                if names.len() != count && self.ragged == RaggedRows::Error {
                    return Err(RowError::wrong_count(count, "the header", names.len()));
                }
                write_object(names, fields, row);
            }
            NameSource::None { fields: expected } => {
                // The first record fixes the number of fields for all others.
                let expected = *expected.get_or_insert(count);
                if expected != count && self.ragged == RaggedRows::Error {
                    return Err(RowError::wrong_count(count, "the first one", expected));
                }
                write_list(expected, fields, row);
            }
        }
        Ok(true)
    }

    /// Prints field names as JSON members, `"name":`.
    fn json_names<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Vec<Vec<u8>>, String> {
        let mut seen = HashMap::new();
        let mut written = Vec::new();
        for (index, name) in names.enumerate() {
            if let Some(before) = seen.insert(name, index + 1) {
                return Err(format!("names two fields {name:?}: numbers {before} and {}", index + 1));
            }
            if name == EXTRA && self.ragged == RaggedRows::Fill {
                return Err(format!("names a field {EXTRA}, which response.csv.ragged: fill adds itself"));
            }
            let mut json = Vec::with_capacity(name.len() + 3);
            write_text(&mut json, name);
            json.push(b':');
            written.push(json);
        }
        Ok(written)
    }
}

/// A record that does not fit.
pub(super) struct RowError {
    /// Description of the record, after its line.
    pub(super) what: String,
    /// True if the record has more fields than the first one: then that one was no header, but a
    /// title above it, and the rows between them are wrong.
    pub(super) is_longer: bool,
}

impl RowError {
    fn wrong_count(count: usize, than: &str, expected: usize) -> Self {
        let what = format!("has another number of fields ({count}) than {than} ({expected}); {RAGGED_CURE}");
        Self { what, is_longer: count > expected }
    }
}

impl From<String> for RowError {
    fn from(what: String) -> Self {
        Self { what, is_longer: false }
    }
}

fn write_object<'f>(names: &[Vec<u8>], mut fields: impl Iterator<Item = &'f str>, row: &mut Vec<u8>) {
    row.push(b'{');
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            row.push(b',');
        }
        row.extend_from_slice(name);
        write_text(row, fields.next().unwrap_or_default());
    }
    let mut further = fields.peekable();
    if further.peek().is_some() {
        if !names.is_empty() {
            row.push(b',');
        }
        write_text(row, EXTRA);
        row.push(b':');
        write_list(0, further, row);
    }
    row.push(b'}');
}

/// Appends a list of texts, with at least this many elements.
fn write_list<'f>(least: usize, fields: impl Iterator<Item = &'f str>, row: &mut Vec<u8>) {
    row.push(b'[');
    let mut written = 0;
    for field in fields {
        if written > 0 {
            row.push(b',');
        }
        write_text(row, field);
        written += 1;
    }
    for index in written..least {
        row.extend_from_slice(if index > 0 { b",\"\"" } else { b"\"\"" });
    }
    row.push(b']');
}

/// Appends a JSON string. Writing into memory cannot fail.
fn write_text(json: &mut Vec<u8>, text: &str) {
    let written = serde_json::to_writer(json, text);
    debug_assert!(written.is_ok());
}

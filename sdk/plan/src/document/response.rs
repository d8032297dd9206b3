//! Reads `response`.

use serde_json::Value;

use super::context::ReadContext;
use super::object::{ObjectReader, wrong_type};
use crate::compiled::PATTERN_MAX_BYTES;
use crate::diagnostic::quoted;
use crate::{
    ArchiveRules, CsvHeader, CsvRules, Decompression, Diagnostic, DiagnosticCode, FilePattern, RaggedRows,
    ResponseFormat, ResponseRules, XmlPrefixes, XmlRules,
};

pub(crate) const FIELDS: &[&str] =
    &["format", "max_bytes", "charset", "decompress", "files", "file_member", "stream", "csv", "xml"];
pub(crate) const CSV_FIELDS: &[&str] =
    &["delimiter", "quote", "escape", "comment", "skip_rows", "skip_footer", "ragged", "header"];
pub(crate) const XML_FIELDS: &[&str] = &["arrays", "prefixes"];

pub(crate) const FORMATS: &[(&str, ResponseFormat)] = &[
    ("auto", ResponseFormat::Auto),
    ("json", ResponseFormat::Json),
    ("jsonl", ResponseFormat::Jsonl),
    ("xml", ResponseFormat::Xml),
    ("csv", ResponseFormat::Csv),
    ("text", ResponseFormat::Text),
    ("binary", ResponseFormat::Binary),
];

pub(crate) const DECOMPRESS: &[(&str, Decompression)] = &[
    ("auto", Decompression::Auto),
    ("gzip", Decompression::Gzip),
    ("zip", Decompression::Zip),
    ("none", Decompression::None),
];

pub(crate) const RAGGED: &[(&str, RaggedRows)] = &[("error", RaggedRows::Error), ("fill", RaggedRows::Fill)];

pub(crate) const PREFIXES: &[(&str, XmlPrefixes)] =
    &[("drop", XmlPrefixes::Drop), ("keep", XmlPrefixes::Keep)];

/// Maximum number of lines that are skipped above or below the rows.
pub(crate) const MAX_SKIPPED: u64 = 10_000;
/// Maximum size of the member that names a row's file, in bytes.
const FILE_MEMBER_MAX_BYTES: usize = 128;
/// Maximum number of names in a list.
const MAX_NAMES: usize = 2000;

pub(super) fn read(step: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> ResponseRules {
    let default = ResponseRules::default();
    let default = ResponseRules { max_bytes: default.max_bytes.min(context.server.body_bytes), ..default };
    let Some(value) = step.get("response") else { return default };
    let Some(object) = ObjectReader::open(value, &step.at("response"), FIELDS, context) else {
        return default;
    };
    let format = object.choice("format", FORMATS, context).unwrap_or(default.format);
    let stream = object.boolean("stream", context).unwrap_or(false);
    let most =
        if stream || reads_by_row(format) { context.server.stream_bytes } else { context.server.body_bytes };
    let rules = ResponseRules {
        format,
        max_bytes: object.integer("max_bytes", 1..=most, context).unwrap_or(default.max_bytes),
        charset: charset(&object, context),
        decompress: object.choice("decompress", DECOMPRESS, context).unwrap_or(default.decompress),
        archive: archive(&object, context),
        stream,
        csv: csv(&object, context),
        xml: xml(&object, context),
    };
    conflicts(&rules, &object, context);
    rules
}

/// Returns whether bodies of this format are always read row by row.
pub(super) fn reads_by_row(format: ResponseFormat) -> bool {
    matches!(format, ResponseFormat::Jsonl | ResponseFormat::Csv)
}

fn conflicts(rules: &ResponseRules, object: &ObjectReader<'_>, context: &mut ReadContext<'_>) {
    use ResponseFormat::{Auto, Binary, Csv, Text, Xml};
    let format = rules.format;
    for (field, formats) in [("csv", [Auto, Csv]), ("xml", [Auto, Xml])] {
        if object.has(field) && !formats.contains(&format) {
            let words = format!("{field} needs format {field} or auto");
            context.conflict(object.at(field), words);
        }
    }
    archive_conflicts(rules, object, context);
    if rules.charset.is_some() && format == Binary {
        context.conflict(object.at("charset"), "format binary has no charset: remove one");
    }
    if rules.stream && matches!(format, Xml | Text | Binary) {
        let words = "stream needs rows that can be read one by one: only JSON, JSON lines and CSV have them";
        context.conflict(object.at("stream"), words);
    }
}

/// Reads `files` and `file_member`.
fn archive(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<ArchiveRules> {
    let file_member = object.short_text("file_member", FILE_MEMBER_MAX_BYTES, context);
    if file_member.as_deref() == Some("") {
        let words = "the name of a member must not be empty";
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("file_member"), words));
    }
    let text = object.short_text("files", PATTERN_MAX_BYTES, context)?;
    let files = FilePattern::new(&text);
    if files.is_none() {
        let words = "a pattern of file names must not be empty: write one such as *.csv";
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("files"), words));
    }
    Some(ArchiveRules { files: files?, file_member })
}

fn archive_conflicts(rules: &ResponseRules, object: &ObjectReader<'_>, context: &mut ReadContext<'_>) {
    use ResponseFormat::{Csv, Json, Jsonl, Xml};
    if object.has("file_member") && !object.has("files") {
        let words = "file_member needs files, which selects the files of a zip archive";
        context.conflict(object.at("file_member"), words);
    }
    if !object.has("files") {
        return;
    }
    if rules.decompress != Decompression::Zip {
        context.conflict(object.at("files"), "files needs decompress zip");
    }
    // The content type is that of the archive, and tells nothing of the files.
    if !matches!(rules.format, Csv | Json | Jsonl | Xml) {
        context.conflict(object.at("files"), "files needs format csv, jsonl, json or xml");
    }
    if rules.stream && rules.format == Json {
        let words = "files of a zip archive are streamed with format csv or jsonl only";
        context.conflict(object.at("stream"), words);
    }
    let member = rules.archive.as_ref().and_then(|archive| archive.file_member.as_ref());
    if let (Some(member), CsvHeader::Names(names)) = (member, &rules.csv.header)
        && names.contains(member)
    {
        let words = "file_member has the name of a field of csv.header: choose another one";
        context.conflict(object.at("file_member"), words);
    }
}

/// Reads `charset` and returns the name of the encoding (WHATWG Encoding, section 4.2).
fn charset(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<String> {
    let label = object.text("charset", context)?;
    let encoding = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes());
    if encoding.is_none() {
        let words = format!(
            "{label} is not an encoding: use a label such as utf-8, windows-1252 or shift_jis",
            label = quoted(label)
        );
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("charset"), words));
    }
    encoding.map(|encoding| encoding.name().to_owned())
}

fn csv(response: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> CsvRules {
    let default = CsvRules::default();
    let Some(value) = response.get("csv") else { return default };
    let Some(object) = ObjectReader::open(value, &response.at("csv"), CSV_FIELDS, context) else {
        return default;
    };
    let delimiter = byte(&object, "delimiter", context).unwrap_or(default.delimiter);
    let quote = match object.get("quote") {
        None => default.quote,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(_) => byte(&object, "quote", context).or(default.quote),
    };
    let rules = CsvRules {
        delimiter,
        quote,
        escape: byte(&object, "escape", context),
        comment: byte(&object, "comment", context),
        skip_rows: object.integer("skip_rows", 0..=MAX_SKIPPED, context).unwrap_or(default.skip_rows),
        skip_footer: object.integer("skip_footer", 0..=MAX_SKIPPED, context).unwrap_or(default.skip_footer),
        ragged: object.choice("ragged", RAGGED, context).unwrap_or(default.ragged),
        header: header(&object, context).unwrap_or(default.header),
    };
    csv_conflicts(&rules, &object, context);
    rules
}

/// Reports characters that have two meanings, and names that `ragged: fill` adds itself.
fn csv_conflicts(rules: &CsvRules, object: &ObjectReader<'_>, context: &mut ReadContext<'_>) {
    let characters = [
        ("delimiter", Some(rules.delimiter)),
        ("quote", rules.quote),
        ("escape", rules.escape),
        ("comment", rules.comment),
    ];
    for (index, (field, byte)) in characters.iter().enumerate() {
        let same = |(_, earlier): &&(&str, Option<u8>)| byte.is_some() && earlier == byte;
        if let Some((earlier, _)) = characters[..index].iter().find(same) {
            // Doubled quotes need no escape character.
            let hint = if *field == "escape" && *earlier == "quote" {
                ": doubled quotes are always read, remove escape"
            } else {
                ""
            };
            context.conflict(object.at(field), format!("{field} must differ from {earlier}{hint}"));
        }
    }
    if let (RaggedRows::Fill, CsvHeader::Names(names)) = (rules.ragged, &rules.header)
        && names.iter().any(|name| name == "_extra")
    {
        let words = "ragged: fill adds the field _extra itself: give this field another name";
        context.conflict(object.at("header"), words);
    }
}

/// Reads one ASCII character other than an end of line.
fn byte(object: &ObjectReader<'_>, field: &str, context: &mut ReadContext<'_>) -> Option<u8> {
    let text = object.text(field, context)?;
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(*byte),
        _ => {
            let words =
                format!("{text} must be one ASCII character, other than an end of line", text = quoted(text));
            context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at(field), words));
            None
        }
    }
}

fn header(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<CsvHeader> {
    match object.get("header")? {
        Value::Bool(true) => Some(CsvHeader::First),
        Value::Bool(false) => Some(CsvHeader::None),
        Value::Array(_) => names(object, "header", context).map(CsvHeader::Names),
        other => {
            context.report(wrong_type(&object.at("header"), "true, false or a list of names", other));
            None
        }
    }
}

fn xml(response: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> XmlRules {
    let Some(value) = response.get("xml") else { return XmlRules::default() };
    let Some(object) = ObjectReader::open(value, &response.at("xml"), XML_FIELDS, context) else {
        return XmlRules::default();
    };
    XmlRules {
        arrays: names(&object, "arrays", context).unwrap_or_default(),
        prefixes: object.choice("prefixes", PREFIXES, context).unwrap_or_default(),
    }
}

/// Reads a list of distinct names.
fn names(object: &ObjectReader<'_>, field: &str, context: &mut ReadContext<'_>) -> Option<Vec<String>> {
    let values = object.list(field, context)?;
    if values.is_empty() || values.len() > MAX_NAMES {
        let words = format!("lists {} names, and may list 1 to {MAX_NAMES}", values.len());
        context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at(field), words));
        return None;
    }
    let mut names: Vec<String> = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let pointer = format!("{}/{index}", object.at(field));
        match value.as_str() {
            Some("") => context.report(Diagnostic::new(
                DiagnosticCode::InvalidValue,
                pointer,
                "a name must not be empty",
            )),
            Some(name) if names.iter().any(|known| known == name) => {
                context.report(Diagnostic::new(
                    DiagnosticCode::Duplicate,
                    pointer,
                    format!("{name:.100} is listed twice"),
                ));
            }
            Some(name) => names.push(name.to_owned()),
            None => context.report(wrong_type(&pointer, "a name", value)),
        }
    }
    Some(names)
}

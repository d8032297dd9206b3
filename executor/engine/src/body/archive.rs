//! Reads the files of an archive as one body: the rows of each, in order.

use std::collections::VecDeque;

use bytes::Bytes;
use orchid_plan::{PathSelection, RawMembers, ResponseFormat, ResponseRules, Value};

use super::element_list::ElementList;
use super::error::DecodeError;
use super::parsed_body::Body;
use super::raw_list::RawList;
use super::reader::BodyReader;
use super::row_path::RowPath;
use super::stream::row_decoder::{NextRow, RowDecoder};
use crate::input::{ArchiveFile, BodyPiece};

/// A decoder of the rows of several files, which arrive one after the other. The first line of each
/// CSV file is a header of its own.
pub(crate) struct FileDecoder {
    rules: ResponseRules,
    content_type: String,
    max_row_bytes: usize,
    /// The file whose rows are read.
    open: Option<OpenFile>,
    /// Pieces behind it.
    waiting: VecDeque<BodyPiece>,
    finished: bool,
    /// The error that every later call returns.
    failure: Option<DecodeError>,
}

struct OpenFile {
    name: String,
    rows: RowDecoder,
}

impl FileDecoder {
    /// Creates a decoder for files in a format of rows. Rows are at most `max_row_bytes` long.
    pub(crate) fn new(rules: &ResponseRules, content_type: &str, max_row_bytes: usize) -> Self {
        Self {
            rules: rules.clone(),
            content_type: content_type.to_owned(),
            max_row_bytes,
            open: None,
            waiting: VecDeque::new(),
            finished: false,
            failure: None,
        }
    }

    /// Feeds a piece.
    pub(crate) fn feed(&mut self, piece: BodyPiece) {
        self.waiting.push_back(piece);
    }

    /// Signals the end of the last file.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Signals that the body broke off: the rows before that are complete.
    pub(crate) fn cut(&mut self) {
        if let Some(open) = &mut self.open {
            open.rows.cut();
        }
    }

    /// Returns the next row. After the end it returns the end again.
    ///
    /// # Errors
    /// If a file is invalid or a row is too large; every later call returns the same error.
    pub(crate) fn next(&mut self) -> Result<NextRow, DecodeError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.read_next().map_err(|error| {
            let error = match &self.open {
                Some(open) => DecodeError::InFile { name: open.name.clone(), error: Box::new(error) },
                None => error,
            };
            self.failure.insert(error).clone()
        })
    }

    fn read_next(&mut self) -> Result<NextRow, DecodeError> {
        loop {
            if let Some(open) = &mut self.open {
                match open.rows.next()? {
                    NextRow::Row(row) => {
                        return Ok(NextRow::Row(with_file_name(&self.rules, &row, &open.name)?));
                    }
                    NextRow::End => {
                        self.open = None;
                        continue;
                    }
                    NextRow::NeedMore => {}
                }
            }
            let begins_file = self.waiting.front().map(|piece| piece.file.is_some());
            match (&mut self.open, begins_file) {
                (Some(open), Some(true)) => open.rows.finish(),
                (Some(open), None) if self.finished => open.rows.finish(),
                (None, None) if self.finished => return Ok(NextRow::End),
                (_, None) => return Ok(NextRow::NeedMore),
                (_, Some(_)) => self.take_piece()?,
            }
        }
    }

    fn take_piece(&mut self) -> Result<(), DecodeError> {
        let Some(piece) = self.waiting.pop_front() else { return Ok(()) };
        if let Some(name) = piece.file {
            let reader = BodyReader::of_everything(&self.rules, &self.content_type);
            let rows = reader.row_decoder(&RowPath::of(None), self.max_row_bytes)?;
            let rows = rows.ok_or(DecodeError::NotStreamable("files of this format have no rows"))?;
            self.open = Some(OpenFile { name, rows });
        }
        if let Some(open) = &mut self.open {
            open.rows.feed(&piece.bytes);
        }
        Ok(())
    }
}

/// Reads a body that consists of several files: the list of their rows, or of their documents. A
/// document that is a list counts as its elements.
///
/// # Errors
/// If a file is invalid in its format.
pub(crate) fn read_files(
    whole: &BodyReader<'_>,
    bytes: &Bytes,
    files: &[ArchiveFile],
) -> Result<Body, DecodeError> {
    let mut list = ElementList::new(whole.max_converted_bytes(), bytes.len());
    let mut start = 0;
    let contents = files.iter().map(|file| {
        let end = (start + file.bytes).min(bytes.len());
        let content = bytes.slice(start.min(end)..end);
        start = end;
        (file.name.clone(), content)
    });
    if matches!(whole.rules.format, ResponseFormat::Csv | ResponseFormat::Jsonl) {
        let mut decoder = FileDecoder::new(whole.rules, whole.content_type, usize::MAX);
        contents.for_each(|(name, bytes)| decoder.feed(BodyPiece { bytes, file: Some(name) }));
        decoder.finish();
        while let NextRow::Row(row) = decoder.next()? {
            list.push(&row)?;
        }
        return whole.parse(list.finish());
    }
    for (name, content) in contents {
        push_document(whole, &content, &name, &mut list)
            .map_err(|error| DecodeError::InFile { name, error: Box::new(error) })?;
    }
    whole.parse(list.finish())
}

/// Adds the elements of one document.
fn push_document(
    whole: &BodyReader<'_>,
    bytes: &Bytes,
    name: &str,
    list: &mut ElementList,
) -> Result<(), DecodeError> {
    // Only the list of all elements becomes a value.
    let Body::Json { text, .. } = (BodyReader { parts: &PathSelection::NONE, ..*whole }).read(bytes)? else {
        return Ok(());
    };
    if !text.trim_ascii_start().starts_with(b"[") {
        let document = text.slice_ref(text.trim_ascii());
        return list.push(&with_file_name(whole.rules, &document, name)?);
    }
    let mut elements = RawList::open(text, &RowPath::of(None))?;
    while let Some(element) = elements.next()? {
        list.push(&with_file_name(whole.rules, &element, name)?)?;
    }
    Ok(())
}

/// Returns a row with the name of its file, if the plan asks for it and the row is an object.
///
/// # Errors
/// If the row has a member of that name already.
fn with_file_name(rules: &ResponseRules, row: &Bytes, name: &str) -> Result<Bytes, DecodeError> {
    let member = rules.archive.as_ref().and_then(|archive| archive.file_member.as_deref());
    let Some(member) = member else { return Ok(row.clone()) };
    let Some(members) = row.strip_prefix(b"{").and_then(|row| row.strip_suffix(b"}")) else {
        return Ok(row.clone());
    };
    if has_member(row, member) {
        return Err(DecodeError::FileMemberTaken(member.to_owned()));
    }
    let (member, name) = (Value::from(member).to_json(), Value::from(name).to_json());
    let mut named = Vec::with_capacity(row.len() + member.len() + name.len() + 2);
    named.push(b'{');
    named.extend_from_slice(members);
    if !members.trim_ascii().is_empty() {
        named.push(b',');
    }
    named.extend_from_slice(&member);
    named.push(b':');
    named.extend_from_slice(&name);
    named.push(b'}');
    Ok(named.into())
}

/// Returns whether an object has a member of this name.
fn has_member(object: &[u8], name: &str) -> bool {
    // Reading is slow, and rarely needed: most rows do not contain the name at all. A name can be
    // spelled with escapes, so a backslash counts.
    let may_have = object.contains(&b'\\') || object.windows(name.len()).any(|part| part == name.as_bytes());
    may_have && RawMembers::of(object).any(|member| member.map_or(true, |(found, _)| found.is(name)))
}

#[cfg(test)]
mod tests {
    use orchid_plan::{ArchiveRules, FilePattern};
    use proptest::prelude::*;

    use super::*;

    fn rules(format: ResponseFormat, member: Option<&str>) -> ResponseRules {
        let files = FilePattern::new("*").unwrap();
        let archive = Some(ArchiveRules { files, file_member: member.map(str::to_owned) });
        ResponseRules { format, archive, ..ResponseRules::default() }
    }

    /// Reads the rows of files that arrive in pieces of this size.
    fn streamed(
        rules: &ResponseRules,
        files: &[(String, String)],
        size: usize,
    ) -> Result<Vec<Bytes>, DecodeError> {
        let mut pieces = VecDeque::new();
        for (name, text) in files {
            let mut file = Some(name.clone());
            for bytes in text.as_bytes().chunks(size) {
                pieces.push_back(BodyPiece { bytes: Bytes::copy_from_slice(bytes), file: file.take() });
            }
            pieces.extend(file.map(|name| BodyPiece { bytes: Bytes::new(), file: Some(name) }));
        }
        let mut decoder = FileDecoder::new(rules, "application/zip", 1000);
        let mut rows = Vec::new();
        loop {
            match decoder.next()? {
                NextRow::Row(row) => rows.push(row),
                NextRow::NeedMore => match pieces.pop_front() {
                    Some(piece) => decoder.feed(piece),
                    None => decoder.finish(),
                },
                NextRow::End => {
                    assert_eq!(decoder.next(), Ok(NextRow::End));
                    return Ok(rows);
                }
            }
        }
    }

    /// Reads the rows of the whole body.
    fn whole(rules: &ResponseRules, files: &[(String, String)]) -> Result<Vec<Bytes>, DecodeError> {
        let bytes: String = files.iter().map(|(_, text)| text.as_str()).collect();
        let lengths: Vec<ArchiveFile> =
            files.iter().map(|(name, text)| ArchiveFile { name: name.clone(), bytes: text.len() }).collect();
        let Body::Json { text, .. } =
            read_files(&BodyReader::of_everything(rules, "application/zip"), &bytes.into(), &lengths)?
        else {
            panic!("no list")
        };
        let mut list = RawList::open(text, &RowPath::of(None))?;
        let mut rows = Vec::new();
        while let Some(row) = list.next()? {
            rows.push(row);
        }
        Ok(rows)
    }

    proptest! {
        #[test]
        fn files_in_pieces_have_the_rows_of_the_whole(
            texts in prop::collection::vec("([a-c]{1,3}(,[a-c]{1,3})?\n){0,4}[a-c]{0,2}", 0..4),
            size in 1..9_usize,
            member in prop::option::of(Just("_file")),
        ) {
            let files: Vec<_> =
                texts.into_iter().enumerate().map(|(number, text)| (format!("{number}.csv"), text)).collect();
            let rules = rules(ResponseFormat::Csv, member);
            prop_assert_eq!(streamed(&rules, &files, size), whole(&rules, &files));
        }
    }

    #[test]
    fn rows_name_their_file_only_if_they_are_objects() {
        let files = [("a".to_owned(), "{}\n[1]\n{ \"b\": 1 }\n\"{}\"".to_owned())];
        let rows = streamed(&rules(ResponseFormat::Jsonl, Some("f")), &files, 4).unwrap();
        assert_eq!(rows, [&b"{\"f\":\"a\"}"[..], b"[1]", b"{ \"b\": 1 ,\"f\":\"a\"}", b"\"{}\""]);
        let taken = [("a".to_owned(), "{\"x\": {\"f\": 1}}\n{\"f\": 2}".to_owned())];
        let refused = streamed(&rules(ResponseFormat::Jsonl, Some("f")), &taken, 4).unwrap_err();
        assert_eq!(
            (refused.code(), refused.to_string().as_str()),
            (
                "DECODE",
                "file \"a\" of the archive: a row has the member \"f\" already: choose another response.file_member"
            )
        );
    }

    #[test]
    fn documents_of_xml_are_elements() {
        let files = [("a".to_owned(), "<a/>".to_owned()), ("b".to_owned(), "<b>1</b>".to_owned())];
        let rows = whole(&rules(ResponseFormat::Xml, Some("f")), &files).unwrap();
        assert_eq!(rows, [&b"{\"a\":null,\"f\":\"a\"}"[..], b"{\"b\":\"1\",\"f\":\"b\"}"]);
        let broken = [("a".to_owned(), "<a>".to_owned())];
        let refused = whole(&rules(ResponseFormat::Xml, None), &broken).unwrap_err().to_string();
        assert!(refused.starts_with("file \"a\" of the archive: the XML"), "{refused}");
    }
}

//! The rows of a message that is not full yet: as slices of the body in which they came, where
//! that takes less memory than a copy.

use bytes::Bytes;

/// Size from which a row is not copied, in bytes. A reference to a smaller one would be as large.
const SLICE_MIN: usize = 256;

/// Rows as the elements of a JSON array.
pub(super) struct RowList {
    /// The body in which rows may be found.
    body: Option<Bytes>,
    parts: Vec<RowPart>,
    rows: usize,
    /// Size of the rows with commas between them.
    bytes: usize,
    /// Size of the rows that are not parts of the body.
    copied: usize,
    /// Start of the newest row in the last part.
    newest_at: usize,
}

/// One or more rows with a comma between any two.
enum RowPart {
    /// A part of the body.
    OfBody { start: usize, end: usize },
    /// A row that came elsewhere.
    Row(Bytes),
    /// Copies of small rows.
    Copies(Vec<u8>),
}

impl RowList {
    /// Creates an empty list; `body` is the JSON text that most rows are slices of, if there is
    /// one.
    pub(super) fn new(body: Option<Bytes>) -> Self {
        Self { body, parts: Vec::new(), rows: 0, bytes: 0, copied: 0, newest_at: 0 }
    }

    /// Returns the body that rows are slices of.
    pub(super) fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Returns the size of the array's content, without its brackets.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes that the list holds beside the body.
    pub(super) fn held_bytes(&self) -> usize {
        self.copied + self.parts.capacity() * size_of::<RowPart>()
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &Bytes) {
        self.bytes += row.len() + usize::from(self.rows > 0);
        self.rows += 1;
        let found = self.body.as_ref().and_then(|body| Some((body, offset_in(body, row)?)));
        if let (Some(RowPart::OfBody { start, end }), Some((body, at))) = (self.parts.last_mut(), found)
            && at == *end + 1
            && body[*end] == b','
        {
            self.newest_at = at - *start;
            *end = at + row.len();
            return;
        }
        let at = found.map(|(_, at)| at);
        self.copy_small_part();
        self.newest_at = 0;
        match (self.parts.last_mut(), at) {
            (Some(RowPart::Copies(text)), _) if row.len() < SLICE_MIN => {
                text.push(b',');
                self.newest_at = text.len();
                text.extend_from_slice(row);
            }
            // A small one too: the next rows may follow right behind it.
            (_, Some(at)) => return self.parts.push(RowPart::OfBody { start: at, end: at + row.len() }),
            (_, None) if row.len() < SLICE_MIN => self.parts.push(RowPart::Copies(row.to_vec())),
            (_, None) => self.parts.push(RowPart::Row(row.clone())),
        }
        self.copied += row.len();
    }

    /// Removes all rows. Returns them in parts, each of which is one or more elements of an array
    /// with commas between them.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        (self.rows, self.bytes, self.copied, self.newest_at) = (0, 0, 0, 0);
        let body = self.body.clone().unwrap_or_default();
        let part = |part| match part {
            RowPart::OfBody { start, end } => body.slice(start..end),
            RowPart::Row(row) => row,
            RowPart::Copies(text) => Bytes::from(text),
        };
        std::mem::take(&mut self.parts).into_iter().map(part).collect()
    }

    /// Removes the newest row.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let whole = self.newest_at == 0;
        let row = match self.parts.last_mut()? {
            RowPart::OfBody { start, end } => {
                let row = self.body.as_ref()?.slice(*start + self.newest_at..*end);
                // The comma before it is no longer needed either.
                *end = *start + self.newest_at.saturating_sub(1);
                row
            }
            RowPart::Row(row) => row.clone(),
            RowPart::Copies(text) => {
                let row = Bytes::from(text.split_off(self.newest_at));
                text.pop();
                row
            }
        };
        if !matches!(self.parts.last(), Some(RowPart::OfBody { .. })) {
            self.copied -= row.len();
        }
        if whole {
            self.parts.pop();
        }
        self.rows -= 1;
        self.bytes -= row.len() + usize::from(self.rows > 0);
        Some(row)
    }

    /// Copies the last part if it is a part of the body that stayed small, so that many of these
    /// are one part.
    fn copy_small_part(&mut self) {
        let (Some(RowPart::OfBody { start, end }), Some(body)) = (self.parts.last(), &self.body) else {
            return;
        };
        if end - start >= SLICE_MIN {
            return;
        }
        let text = body.slice(*start..*end);
        self.copied += text.len();
        self.parts.pop();
        match self.parts.last_mut() {
            Some(RowPart::Copies(before)) => {
                before.push(b',');
                before.extend_from_slice(&text);
            }
            Some(RowPart::OfBody { .. } | RowPart::Row(_)) | None => {
                self.parts.push(RowPart::Copies(text.to_vec()));
            }
        }
    }
}

/// Returns where in the body a slice of it begins; `None` for other bytes.
fn offset_in(body: &Bytes, slice: &Bytes) -> Option<usize> {
    let at = (slice.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    (at + slice.len() <= body.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a list of the elements of a JSON array, which are slices of it.
    fn list_of(array: &str) -> (RowList, Vec<Bytes>) {
        let body = Bytes::from(array.to_owned());
        let raw: Vec<&serde_json::value::RawValue> = serde_json::from_slice(&body).unwrap();
        let rows: Vec<Bytes> = raw.iter().map(|row| body.slice_ref(row.get().as_bytes())).collect();
        (RowList::new(Some(body.clone())), rows)
    }

    fn joined(list: &mut RowList) -> String {
        let parts: Vec<String> =
            list.take().iter().map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
        parts.join(",")
    }

    #[test]
    fn rows_in_a_row_are_one_slice_of_the_body() {
        let (mut list, rows) = list_of(&format!("[{}1]", "1,".repeat(9999)));
        rows.iter().for_each(|row| list.push(row));
        assert_eq!((list.len(), list.bytes()), (10_000, 19_999));
        assert!(list.held_bytes() < 1000, "{}", list.held_bytes());
        let parts = list.take();
        assert_eq!((parts.len(), parts[0].len()), (1, 19_999));
        assert_eq!((list.len(), list.bytes()), (0, 0));
    }

    #[test]
    fn small_rows_that_are_apart_are_copied_into_one_part() {
        let (mut list, rows) = list_of(&format!("[{}1]", "1, ".repeat(9999)));
        rows.iter().for_each(|row| list.push(row));
        assert!(list.held_bytes() < 50_000, "{}", list.held_bytes());
        assert_eq!(list.bytes(), 19_999);
        assert_eq!(joined(&mut list), "1,".repeat(9999) + "1");
    }

    #[test]
    fn rows_of_all_kinds_stay_in_order() {
        let long = format!("\"{}\"", "x".repeat(SLICE_MIN));
        let (mut list, rows) = list_of(&format!("[1,2, 3,{long}, {long},4 ,5]"));
        let strange = [Bytes::from("6"), Bytes::from(long.clone()), Bytes::from("7")];
        let all: Vec<Bytes> = rows.into_iter().chain(strange).collect();
        let texts: Vec<&str> = all.iter().map(|row| std::str::from_utf8(row).unwrap()).collect();
        for count in 1..=all.len() {
            all[..count].iter().for_each(|row| list.push(row));
            assert_eq!(list.bytes(), texts[..count].join(",").len());
            let newest = list.pop().unwrap();
            assert_eq!((&newest, list.len()), (&all[count - 1], count - 1));
            assert_eq!(list.bytes(), texts[..count - 1].join(",").len());
            list.push(&newest);
            assert_eq!(joined(&mut list), texts[..count].join(","), "{count}");
        }
        assert_eq!(list.pop(), None);
    }
}

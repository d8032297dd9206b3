//! Pages of lists.

/// A page to read: its size and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<C> {
    /// Maximum number of rows.
    pub size: usize,
    /// Cursor of the last row of the previous page; none for the first page.
    pub after: Option<C>,
}

/// One page of rows.
#[derive(Debug, Clone)]
pub struct ResultPage<T, C> {
    /// Rows in the order of the list.
    pub rows: Vec<T>,
    /// Cursor to continue after; none on the last page.
    pub next: Option<C>,
}

impl<T, C> ResultPage<T, C> {
    /// Returns the page of a list without rows.
    pub fn empty() -> Self {
        Self { rows: Vec::new(), next: None }
    }
}

impl<C: Copy> PageRequest<C> {
    /// Returns the number of rows to query: one more than the page holds, to detect a next page.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Cuts the queried rows to the page size.
    pub fn cut<T>(&self, mut rows: Vec<T>, cursor: impl Fn(&T) -> C) -> ResultPage<T, C> {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        let next = if more { rows.last().map(cursor) } else { None };
        ResultPage { rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_last_page_has_no_next_cursor() {
        let page = PageRequest { size: 2, after: None };
        assert_eq!(page.cut(vec![3, 2, 1], |row| *row).next, Some(2));
        assert_eq!(page.cut(vec![2, 1], |row| *row).next, None);
        assert_eq!(page.cut(vec![3, 2, 1], |row| *row).rows, [3, 2]);
    }
}

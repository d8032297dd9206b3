//! Pages of lists.

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<C> {
    /// At most this many.
    pub size: usize,
    /// Where the page before ended; none at the beginning.
    pub after: Option<C>,
}

/// One page, and where the next begins.
#[derive(Debug, Clone)]
pub struct ResultPage<T, C> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// None at the end.
    pub next: Option<C>,
}

impl<C: Copy> PageRequest<C> {
    /// How many rows to ask for: one more, to see whether there is a next page.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Cuts what was asked for by [`limit`](Self::limit) to the page.
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
    fn the_last_page_has_no_next_even_where_it_is_full() {
        let page = PageRequest { size: 2, after: None };
        assert_eq!(page.cut(vec![3, 2, 1], |row| *row).next, Some(2));
        assert_eq!(page.cut(vec![2, 1], |row| *row).next, None);
        assert_eq!(page.cut(vec![3, 2, 1], |row| *row).rows, [3, 2]);
    }
}

//! Renders cells as text in aligned columns. Pure.

/// Rows of cells with optional column titles.
#[derive(Debug, Default)]
pub(crate) struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with column titles.
    pub(crate) fn titled<const N: usize>(titles: [&str; N]) -> Self {
        Self { titles: titles.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// Creates a table without titles.
    pub(crate) fn untitled() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub(crate) fn row<C: AsRef<str>, const N: usize>(&mut self, cells: [C; N]) {
        self.rows.push(cells.iter().map(|cell| cell.as_ref().to_owned()).collect());
    }

    /// Returns whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the lines, each with a newline; columns are two spaces apart, without trailing
    /// spaces.
    pub(crate) fn render(&self) -> String {
        let titles = (!self.titles.is_empty()).then_some(&self.titles);
        let lines: Vec<&Vec<String>> = titles.into_iter().chain(&self.rows).collect();
        let columns = lines.iter().map(|line| line.len()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|cell| width(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        lines.into_iter().map(|line| render_line(line, &widths)).collect()
    }
}

fn render_line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, column) in cells.iter().zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', column.saturating_sub(width(cell)) + 2));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let mut table = Table::titled(["KEY", "STATE", "NOTE"]);
        table.row(["orders-sync", "ok", ""]);
        table.row(["é", "failed", "again"]);
        assert_eq!(
            table.render(),
            "KEY          STATE   NOTE\norders-sync  ok\né            failed  again\n"
        );
    }

    #[test]
    fn empty_table_renders_as_nothing() {
        assert_eq!(Table::untitled().render(), "");
    }
}

//! Text in aligned columns. Pure: in come cells, out comes text.

/// Rows of cells under optional titles.
#[derive(Debug, Default)]
pub(crate) struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With a line of titles.
    pub(crate) fn titled<const N: usize>(titles: [&str; N]) -> Self {
        Self { titles: titles.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// Without titles.
    pub(crate) fn untitled() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub(crate) fn row<C: AsRef<str>, const N: usize>(&mut self, cells: [C; N]) {
        self.rows.push(cells.iter().map(|cell| cell.as_ref().to_owned()).collect());
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each ending in a newline; two blanks between columns, none at the end.
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
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::titled(["KEY", "STATE", "NOTE"]);
        table.row(["orders-sync", "ok", ""]);
        table.row(["é", "failed", "again"]);
        assert_eq!(
            table.render(),
            "KEY          STATE   NOTE\norders-sync  ok\né            failed  again\n"
        );
    }

    #[test]
    fn nothing_renders_as_nothing() {
        assert_eq!(Table::untitled().render(), "");
    }
}

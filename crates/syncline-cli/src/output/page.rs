//! A page of text: lines and tables with aligned columns. Nothing on it can steer the terminal.

use std::fmt::Write as _;

/// Text that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(&printable(line.as_ref()));
        self.text.push('\n');
    }

    /// Adds an empty line, unless the page is empty or ends with one.
    pub(crate) fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Adds a table, unless it has no rows.
    pub(crate) fn table(&mut self, table: &Table) {
        if !table.rows.is_empty() {
            table.render(&mut self.text);
        }
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// To which side a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under headers.
#[derive(Debug)]
pub(crate) struct Table {
    headers: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new<'a>(headers: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        Self { headers: headers.into_iter().map(|(h, a)| (h.to_owned(), a)).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| printable(&cell.into())).collect();
        debug_assert_eq!(cells.len(), self.headers.len(), "a row has one cell for each header");
        self.rows.push(cells);
    }

    fn render(&self, text: &mut String) {
        let headers: Vec<String> = self.headers.iter().map(|(header, _)| header.clone()).collect();
        let named = headers.iter().any(|header| !header.is_empty());
        let lines = || named.then_some(&headers).into_iter().chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..headers.len()).map(width).collect();
        for line in lines() {
            let mut rendered = String::new();
            for ((cell, width), (_, align)) in line.iter().zip(&widths).zip(&self.headers) {
                let padded = match align {
                    Align::Left => write!(rendered, "{cell:<width$}  "),
                    Align::Right => write!(rendered, "{cell:>width$}  "),
                };
                padded.expect("a string takes every write");
            }
            text.push_str(rendered.trim_end());
            text.push('\n');
        }
    }
}

/// Data may hold anything: characters that steer a terminal, or that would break a line of a table, are escaped.
fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests;

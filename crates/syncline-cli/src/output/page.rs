//! A page of text: lines and tables with aligned columns. Nothing on it can steer the terminal.

use std::borrow::Cow;
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

    /// Adds lines of the program's own as they are: a script that others run, with its line ends and tabs. Never data.
    pub(crate) fn script(&mut self, script: &str) {
        self.text.push_str(script);
        if !script.ends_with('\n') {
            self.text.push('\n');
        }
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

/// So many characters of a cell are shown beside others: the rest of a longer one would push them off the screen.
pub(crate) const CELL: usize = 200;

/// Rows of cells under headers. Cells of text in the last column are shown whole, others up to [`CELL`].
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
        let last = headers.len().saturating_sub(1);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0).min(CELL);
        let widths: Vec<usize> = (0..headers.len()).map(width).collect();
        for line in lines() {
            let mut rendered = String::new();
            for (column, ((cell, &width), (_, align))) in line.iter().zip(&widths).zip(&self.headers).enumerate() {
                let padded = match align {
                    Align::Left if column == last => rendered.write_str(cell),
                    Align::Left => write!(rendered, "{:<width$}  ", cut(cell)),
                    Align::Right => write!(rendered, "{:>width$}  ", cut(cell)),
                };
                padded.expect("a string takes every write");
            }
            text.push_str(rendered.trim_end());
            text.push('\n');
        }
    }
}

/// What is shown of a text beside others: its first [`CELL`] characters, the last one an ellipsis when there were more.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    if text.chars().nth(CELL).is_none() {
        return Cow::Borrowed(text);
    }
    let kept = text.char_indices().nth(CELL - 1).map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{}…", &text[..kept]))
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

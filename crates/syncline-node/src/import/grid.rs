//! A grid: the cells of a block of text records, found but not yet understood.
//!
//! The CSV and NDJSON readers fill grids; `column` turns a column of a grid into an Arrow array. A cell is a range of
//! the block, so plain cells are never copied; cells that had to be unescaped lie in a side buffer.

/// What a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: an empty CSV field, a JSON null.
    Null,
    /// A CSV field with the text that means null, which an empty text does not.
    NullText,
    /// Not in this record at all: a key that a JSON object does not have.
    Absent,
    /// Text whose type is for the column to say: a CSV field, a JSON string.
    Text,
    /// A quoted CSV field.
    Quoted,
    /// JSON as it is written: a number, a boolean, or any value for columns that keep JSON.
    Json,
}

impl Kind {
    /// Whether there is no value, however that is written.
    pub(super) fn is_null(self) -> bool {
        matches!(self, Self::Null | Self::NullText | Self::Absent)
    }
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    start: u32,
    len: u32,
    kind: Kind,
    extra: bool,
}

/// One record of a grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// The line it begins on.
    pub(super) line: u64,
    /// Its bytes in the block, without the line end.
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Cells of some records; every record has the same number of them.
#[derive(Debug, Default)]
pub(super) struct Grid {
    pub(super) block: Vec<u8>,
    extra: Vec<u8>,
    cells: Vec<Cell>,
    pub(super) records: Vec<Record>,
    pub(super) width: usize,
    /// Whether an empty field is the empty string where null is not allowed (CSV).
    pub(super) empty_is_text: bool,
    /// Whether a null is JSON's, which is a value where null is not allowed (NDJSON, and inside of nested cells).
    pub(super) null_is_json: bool,
}

impl Grid {
    pub(super) fn new(block: Vec<u8>, width: usize) -> Self {
        Self { block, width, ..Self::default() }
    }

    /// A grid of no records.
    pub(super) fn empty(width: usize) -> Self {
        Self::new(Vec::new(), width)
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(self.records.len())
    }

    pub(super) fn push_empty(&mut self, kind: Kind) {
        self.cells.push(Cell { start: 0, len: 0, kind, extra: false });
    }

    /// A cell that is a range of the block. Blocks are far smaller than 4 GiB: their reader sees to that.
    pub(super) fn push_range(&mut self, start: usize, end: usize, kind: Kind) {
        self.cells.push(Cell { start: start as u32, len: (end - start) as u32, kind, extra: false });
    }

    /// A cell with bytes of its own.
    pub(super) fn push_bytes(&mut self, bytes: &[u8], kind: Kind) {
        let start = self.extra.len() as u32;
        self.extra.extend_from_slice(bytes);
        self.cells.push(Cell { start, len: bytes.len() as u32, kind, extra: true });
    }

    /// Replaces a cell of the record that is being filled.
    pub(super) fn move_last_to(&mut self, index: usize) {
        if let Some(cell) = self.cells.pop() {
            self.cells[index] = cell;
        }
    }

    /// How many cells there are: where the next record begins.
    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Forgets the cells from here on.
    pub(super) fn truncate(&mut self, cells: usize) {
        self.cells.truncate(cells);
    }

    /// Whether the cell at this index is yet [`Kind::Absent`].
    pub(super) fn is_absent(&self, index: usize) -> bool {
        self.cells[index].kind == Kind::Absent
    }

    pub(super) fn get(&self, record: usize, column: usize) -> (Kind, &[u8]) {
        let cell = self.cells[record * self.width + column];
        let buffer = if cell.extra { &self.extra } else { &self.block };
        let start = cell.start as usize;
        (cell.kind, &buffer[start..start + cell.len as usize])
    }

    /// The cells of one column.
    pub(super) fn column(&self, column: usize) -> impl ExactSizeIterator<Item = (Kind, &[u8])> {
        (0..self.len()).map(move |record| self.get(record, column))
    }

    /// How many bytes the cells of one column have together.
    pub(super) fn column_bytes(&self, column: usize) -> usize {
        self.cells.iter().skip(column).step_by(self.width.max(1)).map(|cell| cell.len as usize).sum()
    }

    /// A record's text as it is in the source.
    pub(super) fn text(&self, record: &Record) -> String {
        String::from_utf8_lossy(&self.block[record.start as usize..record.end as usize]).into_owned()
    }
}

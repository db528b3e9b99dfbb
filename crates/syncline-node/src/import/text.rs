//! Text sources: bytes are cut into blocks of whole records on one thread and parsed on many.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter;
use memchr::{memchr, memchr_iter, memrchr};
use syncline_tree::key::KeyEncoder;
use syncline_tree::schema::{Schema, Type};

use super::chunk::{Chunk, Places, RowShapes, Shapes};
use super::csv::{self, Dialect, Ragged};
use super::grid::{Grid, Kind};
use super::plan::Inferred;
use super::report::{self, Bad};
use super::{Error, Result, column, fit, ndjson};

/// Bytes per block. Enough rows for a good batch, few enough that all cores have work on a small file.
pub(super) const BLOCK: usize = 1 << 20;

/// Bytes of the cells of a block's records, about: more records than have so many come in more blocks.
const CELLS: usize = 8 << 20;

/// Bytes that a cell takes with its place in the block and the value that it becomes, about.
const CELL_BYTES: usize = 32;

/// How many cells a null of the type takes.
fn cells(ty: &Type) -> usize {
    match ty {
        Type::FixedSizeList(item, size) => cells(&item.ty).saturating_mul(*size as usize).saturating_add(1),
        Type::Struct(fields) => fields.iter().fold(1, |sum, field| cells(&field.ty).saturating_add(sum)),
        _ => 1,
    }
}

/// Where records may be cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// At line ends outside quotes.
    Csv { delimiter: u8 },
    /// At line ends.
    Lines,
}

impl Cut {
    /// Where the record that begins here ends; `None` for the last when no line end says so.
    fn end(self, buffer: &[u8], from: usize) -> Option<usize> {
        match self {
            Self::Csv { delimiter } => csv::record_end(buffer, from, delimiter),
            Self::Lines => memchr(b'\n', buffer.get(from..)?).map(|at| from + at + 1),
        }
    }

    fn last_end(self, buffer: &[u8]) -> usize {
        match self {
            Self::Csv { delimiter } => csv::last_record_end(buffer, delimiter),
            Self::Lines => memrchr(b'\n', buffer).map_or(0, |at| at + 1),
        }
    }
}

/// Whole records of a source.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// The line the first record begins on.
    pub(super) line: u64,
}

/// Cuts a stream into blocks.
pub(super) struct Blocks {
    name: String,
    reader: Box<dyn Read + Send>,
    cut: Cut,
    max_record: usize,
    buffer: Vec<u8>,
    line: u64,
    ended: bool,
    failed: bool,
    /// Blocks that were looked at and will be read again.
    kept: VecDeque<Block>,
    /// How many records a block has at most.
    most_records: usize,
    /// What is left of a block that had more.
    pieces: VecDeque<Block>,
}

impl Blocks {
    pub(super) fn new(name: &str, reader: Box<dyn Read + Send>, cut: Cut, max_record: usize) -> Result<Self> {
        let mut blocks = Self {
            name: name.to_owned(),
            reader,
            cut,
            max_record,
            buffer: Vec::new(),
            line: 1,
            ended: false,
            failed: false,
            kept: VecDeque::new(),
            most_records: usize::MAX,
            pieces: VecDeque::new(),
        };
        blocks.fill(BLOCK)?;
        match blocks.buffer.as_slice() {
            [0xef, 0xbb, 0xbf, ..] => drop(blocks.buffer.drain(..3)),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                return Err(Error::source(name, "is UTF-16; convert it to UTF-8 first"));
            }
            _ => {}
        }
        Ok(blocks)
    }

    /// Reads until the buffer has `target` bytes or the stream ends.
    fn fill(&mut self, target: usize) -> Result<()> {
        let mut filled = self.buffer.len();
        self.buffer.resize(target.max(filled), 0);
        while filled < target && !self.ended {
            match self.reader.read(&mut self.buffer[filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { name: self.name.clone(), source }),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// Takes the first record off (a header), without its line end; `None` when there is no record.
    pub(super) fn take_first(&mut self, delimiter: u8) -> Result<Option<Vec<u8>>> {
        let Some(end) = self.find_first(delimiter)? else { return Ok(None) };
        let record = self.advance(end);
        let text = record.strip_suffix(b"\n").unwrap_or(&record);
        Ok(Some(text.strip_suffix(b"\r").unwrap_or(text).to_vec()))
    }

    /// The first record, which stays.
    pub(super) fn peek_first(&mut self, delimiter: u8) -> Result<Option<Vec<u8>>> {
        Ok(self.find_first(delimiter)?.map(|end| self.buffer[..end].to_vec()))
    }

    fn find_first(&mut self, delimiter: u8) -> Result<Option<usize>> {
        let mut target = BLOCK;
        loop {
            let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            self.advance(blank);
            if self.buffer.is_empty() && self.ended {
                return Ok(None);
            }
            if let Some(end) = csv::first_record_end(&self.buffer, delimiter, self.ended) {
                return Ok(Some(end));
            }
            self.too_long()?;
            target *= 2;
            self.fill(target)?;
        }
    }

    fn too_long(&self) -> Result<()> {
        if self.buffer.len() < self.max_record {
            return Ok(());
        }
        let reason = format!(
            "the record that begins on line {} is longer than {} bytes; is a quote never closed, or the format another?",
            self.line, self.max_record
        );
        Err(Error::source(&self.name, reason))
    }

    /// Takes bytes from the front.
    fn advance(&mut self, bytes: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(bytes);
        let taken = std::mem::replace(&mut self.buffer, rest);
        self.line += memchr_iter(b'\n', &taken).count() as u64;
        taken
    }

    /// Puts blocks back in front, to be read again.
    pub(super) fn put_back(&mut self, blocks: Vec<Block>) {
        self.kept = blocks.into();
    }

    /// The same in blocks of at most so many records. A record of few bytes can be one of very many cells.
    pub(super) fn limited(self, most_records: usize) -> Self {
        Self { most_records: most_records.max(1), ..self }
    }

    fn cut_up(&self, block: Block) -> VecDeque<Block> {
        // Blank lines are no records, but they are blank.
        if self.most_records == usize::MAX || memchr_iter(b'\n', &block.bytes).count() < self.most_records {
            return [block].into();
        }
        let (mut pieces, mut start, mut line) = (VecDeque::new(), 0, block.line);
        while start < block.bytes.len() {
            let mut end = start;
            for _ in 0..self.most_records {
                end = self.cut.end(&block.bytes, end).unwrap_or(block.bytes.len());
            }
            let bytes = block.bytes[start..end].to_vec();
            let lines = memchr_iter(b'\n', &bytes).count() as u64;
            pieces.push_back(Block { bytes, line });
            (start, line) = (end, line + lines);
        }
        pieces
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        let mut target = BLOCK;
        loop {
            self.fill(target)?;
            let end = if self.ended { self.buffer.len() } else { self.cut.last_end(&self.buffer) };
            if end > 0 {
                let line = self.line;
                return Ok(Some(Block { bytes: self.advance(end), line }));
            }
            if self.ended {
                return Ok(None);
            }
            self.too_long()?;
            target *= 2;
        }
    }
}

impl Iterator for Blocks {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(Ok(piece));
        }
        let next = match self.kept.pop_front() {
            Some(block) => Ok(Some(block)),
            None if self.failed => return None,
            None => self.next_block(),
        };
        match next {
            Ok(Some(block)) => {
                self.pieces = self.cut_up(block);
                self.pieces.pop_front().map(Ok)
            }
            end => {
                self.failed = true;
                end.transpose()
            }
        }
    }
}

/// How a block's bytes become cells.
#[derive(Debug, Clone)]
pub(super) enum Reader {
    /// With the number of fields in a record.
    Csv { dialect: Dialect, width: usize },
    /// With the keys to look for.
    Ndjson(ndjson::Keys),
}

impl Reader {
    pub(super) fn read(&self, block: Block) -> (Grid, Vec<Ragged>) {
        match self {
            Self::Csv { dialect, width } => {
                let mut grid = Grid::new(block.bytes, *width);
                grid.empty_is_text = true;
                let ragged = csv::split(&mut grid, dialect, block.line);
                (grid, ragged)
            }
            Self::Ndjson(keys) => {
                let mut grid = Grid::new(block.bytes, keys.len());
                grid.null_is_json = true;
                let ragged = ndjson::split(&mut grid, keys, block.line);
                (grid, ragged)
            }
        }
    }
}

/// All that a worker needs to turn a block of one source into a chunk.
#[derive(Debug, Clone)]
pub(super) struct TextPlan {
    pub(super) source: u32,
    pub(super) reader: Reader,
    pub(super) schema: Arc<Schema>,
    pub(super) arrow: SchemaRef,
    pub(super) encoder: KeyEncoder,
    /// The columns whose type the first rows say.
    pub(super) inferred: Arc<Inferred>,
    /// Whether records may lack columns that may not be null.
    pub(super) partial: bool,
    /// Per column of the schema: where it is in the grid.
    pub(super) columns: Vec<Option<usize>>,
    /// The columns given, when a record has all of its cells.
    pub(super) shape: u32,
    /// Where sets of columns are kept, when records differ in them and it matters.
    pub(super) shapes: Option<Arc<Shapes>>,
}

impl TextPlan {
    /// How many records a block should have at most, whatever their bytes: so many that what is made of them at once stays within
    /// some megabytes.
    pub(super) fn most_records(&self) -> usize {
        let columns = self.schema.columns.iter().map(|column| cells(&column.ty));
        let each = columns.fold(0, usize::saturating_add).saturating_mul(CELL_BYTES);
        (CELLS / each.max(1)).max(1)
    }

    /// Parses a block.
    pub(super) fn parse(&self, block: Block) -> Result<Chunk> {
        self.parse_with(block, self.shapes.as_deref())
    }

    /// As [`Self::parse`], with another place for sets of columns.
    pub(super) fn parse_with(&self, block: Block, shapes: Option<&Shapes>) -> Result<Chunk> {
        let (grid, ragged) = self.reader.read(block);
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, place) in self.schema.columns.iter().zip(&self.columns) {
            let array = match place {
                Some(at) => {
                    let is_key = self.schema.key.contains(&column.id);
                    let (nullable, may_lack) = (column.nullable && !is_key, self.partial && !is_key);
                    let name = &column.name;
                    let origin = self.inferred.get(name).copied().unwrap_or_default();
                    let source = column::Source { grid: &grid, column: *at, name, nullable, may_lack, origin };
                    column::build(&source, &column.ty, &mut |record, reason| {
                        reasons.entry(record).or_insert(reason);
                    })
                }
                None => fit::filler(self.arrow.field(arrays.len()), grid.len()),
            };
            arrays.push(array);
        }
        let shapes = self.row_shapes(&grid, shapes)?;
        let bad = self.bad(&grid, &ragged, &reasons);
        let lines = |row: usize| report::position(self.source, grid.records[row].line);
        let text = |position: u64| {
            let (_, line) = report::source_of(position);
            let found = grid.records.binary_search_by_key(&line, |record| record.line);
            found.map_or_else(|_| String::new(), |record| grid.text(&grid.records[record]))
        };
        if reasons.is_empty() {
            let places = Places::Each((0..grid.len()).map(lines).collect());
            return Chunk { rows: self.batch(arrays)?, places, shapes, bad }.without_long_keys(&self.encoder, text);
        }
        let keep: BooleanArray = (0..grid.len()).map(|row| Some(!reasons.contains_key(&row))).collect();
        let kept: Vec<usize> = keep.values().set_indices().collect();
        let arrays = arrays.iter().map(|array| filter(array, &keep)).collect::<Result<Vec<_>, _>>();
        let shapes = match shapes {
            RowShapes::Each(each) => RowShapes::Each(kept.iter().map(|row| each[*row]).collect()),
            one @ RowShapes::One(_) => one,
        };
        let chunk = Chunk {
            rows: self.batch(arrays.map_err(Error::arrow("take bad rows out"))?)?,
            places: Places::Each(kept.iter().map(|row| lines(*row)).collect()),
            shapes,
            bad,
        };
        chunk.without_long_keys(&self.encoder, text)
    }

    /// Nested columns come with null allowed everywhere; bad rows are out, so the real type fits now.
    pub(super) fn batch(&self, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
        let strict = arrays.into_iter().zip(self.arrow.fields()).map(|(array, field)| {
            if array.null_count() > 0 && !field.is_nullable() {
                return fit::zeroed(&array, field);
            }
            if array.data_type() == field.data_type() {
                return Ok(array);
            }
            arrow_cast::cast(&array, field.data_type()).map_err(Error::arrow("check nested columns"))
        });
        let arrays = strict.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(self.arrow.clone(), arrays).map_err(Error::arrow("put columns together"))
    }

    fn bad(&self, grid: &Grid, ragged: &[Ragged], reasons: &BTreeMap<usize, String>) -> Vec<Bad> {
        let of = |record: &super::grid::Record, reason: &str| Bad {
            position: report::position(self.source, record.line),
            reason: reason.to_owned(),
            text: grid.text(record),
        };
        let ragged = ragged.iter().map(|ragged| of(&ragged.record, &ragged.reason));
        let refused = reasons.iter().map(|(record, reason)| of(&grid.records[*record], reason));
        let mut bad: Vec<Bad> = ragged.chain(refused).collect();
        bad.sort_by_key(|bad| bad.position);
        bad
    }

    /// Which columns each record gave.
    fn row_shapes(&self, grid: &Grid, shapes: Option<&Shapes>) -> Result<RowShapes> {
        let Some(shapes) = shapes else { return Ok(RowShapes::One(self.shape)) };
        let mut each = Vec::with_capacity(grid.len());
        let mut known: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
        let mut given = Vec::new();
        for record in 0..grid.len() {
            given.clear();
            let columns = self.schema.columns.iter().zip(&self.columns);
            let present = columns.filter(|(_, at)| at.is_some_and(|at| grid.get(record, at).0 != Kind::Absent));
            given.extend(present.map(|(column, _)| column.id));
            let shape = if given.len() == self.schema.columns.len() {
                0
            } else if let Some(shape) = known.get(&given) {
                *shape
            } else {
                let shape = shapes.intern(&given)?;
                known.insert(given.clone(), shape);
                shape
            };
            each.push(shape);
        }
        Ok(match each.first() {
            Some(first) if each.iter().all(|shape| shape == first) => RowShapes::One(*first),
            _ => RowShapes::Each(each),
        })
    }
}

#[cfg(test)]
mod tests;

//! Settles the schema and how each source's columns fill it, before any row is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use syncline_base::task;
use syncline_tree::key::KeyEncoder;
use syncline_tree::schema::{Field, MAX_COLUMNS, Schema, Type};
use syncline_tree::table::batch_bytes;

use super::ahead::{ahead_within, parallel};
use super::chunk::{Chunk, Shapes};
use super::csv::{self, Dialect};
use super::fit::FitPlan;
use super::infer::{self, Guesses, Origin};
use super::ipc::Ipc;
use super::parquet::{Parquet, Reader as ParquetReader};
use super::source::{Counter, Source};
use super::text::{Block, Blocks, Cut, Reader, TextPlan};
use super::{Error, Format, Mode, Options, Result, ndjson, nested};

/// How much of a stream that cannot be read twice is kept to look at.
const KEPT_BYTES: u64 = 16 << 20;

/// Batches of Arrow IPC that wait to be used have at most so many bytes together, or are one.
const IPC_BYTES: usize = 16 << 20;

/// A source that has been looked at.
#[derive(Debug)]
pub(super) enum Seen {
    Csv { source: Source, names: Vec<String>, delimiter: u8, stream: Option<Blocks> },
    Ndjson { source: Source, stream: Option<Blocks> },
    Parquet(Parquet),
    Ipc(Ipc),
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("blocks")
    }
}

/// Chunks of one source.
pub(super) type Chunks = Box<dyn Iterator<Item = Result<Chunk>> + Send>;

/// Opens a source far enough to know its columns.
pub(super) fn look(mut source: Source, options: &Options, counter: &Counter) -> Result<Seen> {
    match source.format {
        Format::Csv | Format::Tsv => {
            let delimiter = options.delimiter.unwrap_or(if source.format == Format::Csv { b',' } else { b'\t' });
            if matches!(delimiter, b'"' | b'\n' | b'\r') {
                return Err(Error::invalid("a quote or a line end cannot separate fields"));
            }
            let uncounted = if source.rereadable() { Counter::default() } else { counter.clone() };
            let (names, stream) = open_csv(&mut source, delimiter, options, &uncounted)?;
            let stream = (!source.rereadable()).then_some(stream);
            Ok(Seen::Csv { source, names, delimiter, stream })
        }
        Format::Ndjson => {
            let stream = if source.rereadable() { None } else { Some(open_lines(&mut source, options, counter)?) };
            Ok(Seen::Ndjson { source, stream })
        }
        Format::Parquet => {
            let name = source.name.clone();
            Parquet::open(&name, source.seekable(&options.temp_dir)?).map(Seen::Parquet)
        }
        Format::Arrow => {
            let name = source.name.clone();
            Ipc::file(&name, source.seekable(&options.temp_dir)?).map(Seen::Ipc)
        }
        Format::ArrowStream => Ipc::stream(source, counter).map(Seen::Ipc),
    }
}

fn open_lines(source: &mut Source, options: &Options, counter: &Counter) -> Result<Blocks> {
    Blocks::new(&source.name.clone(), source.open(counter)?, Cut::Lines, options.max_record_bytes)
}

/// The columns and the records behind the header.
fn open_csv(source: &mut Source, delimiter: u8, options: &Options, counter: &Counter) -> Result<(Vec<String>, Blocks)> {
    let name = source.name.clone();
    let mut blocks = Blocks::new(&name, source.open(counter)?, Cut::Csv { delimiter }, options.max_record_bytes)?;
    if options.header {
        let line = blocks.take_first(delimiter)?.ok_or_else(|| Error::source(&name, "is empty: it has no header"))?;
        let names = csv::header(&line, delimiter).map_err(|reason| Error::source(&name, reason))?;
        return Ok((names, blocks));
    }
    // The first record says how many columns there are; it is read again.
    let first = blocks.peek_first(delimiter)?;
    if let Some(record) = first.as_deref().filter(|record| !record.ends_with(b"\n")) {
        csv::refuse_bare_cr(csv::without_line_end(record)).map_err(|reason| Error::source(&name, reason))?;
    }
    let fields = first.map_or(0, |line| csv::count_fields(&line, delimiter));
    csv::check_width(fields).map_err(|reason| Error::source(&name, reason))?;
    if fields == 0 {
        return Err(Error::source(&name, "is empty: nothing says which columns it has"));
    }
    Ok(((1..=fields).map(|i| format!("column_{i}")).collect(), blocks))
}

impl Seen {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Csv { source, .. } | Self::Ndjson { source, .. } => &source.name,
            Self::Parquet(parquet) => &parquet.name,
            Self::Ipc(ipc) => &ipc.name,
        }
    }

    /// Names of the columns, where they are known before the rows are.
    fn columns(&self) -> Option<Vec<String>> {
        let of = |schema: &arrow_schema::Schema| schema.fields().iter().map(|field| field.name().clone()).collect();
        match self {
            Self::Csv { names, .. } => Some(names.clone()),
            Self::Ndjson { .. } => None,
            Self::Parquet(parquet) => Some(of(parquet.schema())),
            Self::Ipc(ipc) => Some(of(&ipc.schema)),
        }
    }

    /// The type of a column, where the source says it.
    fn type_of(&self, at: usize) -> Result<Option<Type>> {
        let field = match self {
            Self::Csv { .. } | Self::Ndjson { .. } => return Ok(None),
            Self::Parquet(parquet) => parquet.schema().fields()[at].clone(),
            Self::Ipc(ipc) => ipc.schema.fields()[at].clone(),
        };
        // No table has such a type, but its text.
        if matches!(field.data_type(), arrow_schema::DataType::Interval(_)) {
            return Ok(Some(Type::Utf8));
        }
        let fields = super::fields_of(&arrow_schema::Schema::new(vec![field]));
        let fields = fields.map_err(|error| Error::source(self.name(), error))?;
        Ok(fields.into_iter().next().map(|field| field.ty))
    }

    /// Names the columns of a text without a header: they are those of the table, or of the declared schema, in order.
    /// To delete rows the key's columns will do.
    pub(super) fn name_columns(&mut self, existing: Option<&Schema>, options: &Options) -> Result<()> {
        let Self::Csv { source, names, .. } = self else { return Ok(()) };
        let wanted: Vec<String> = match (existing, &options.schema) {
            (Some(schema), _) => schema.columns.iter().map(|column| column.name.clone()).collect(),
            (None, Some(fields)) => fields.iter().map(|field| field.name.clone()).collect(),
            (None, None) => return Ok(()),
        };
        let key = existing.filter(|_| options.mode == Mode::Delete).map(Schema::key_positions).unwrap_or_default();
        if names.len() == wanted.len() {
            *names = wanted;
        } else if !key.is_empty() && names.len() == key.len() {
            *names = key.iter().map(|position| wanted[*position].clone()).collect();
        } else {
            let (whose, count) = (if existing.is_some() { "the table" } else { "the schema" }, wanted.len());
            let reason = format!(
                "without a header its {} are {whose}'s in order, and {whose} has {count}: {}; give all of them, or a \
                 header that names those that are there",
                csv::count(names.len(), "column"),
                wanted.join(", ")
            );
            return Err(Error::source(&source.name, reason));
        }
        Ok(())
    }

    /// What the first rows of a text source look like. Takes what it has looked at from the budget.
    fn guess(&mut self, options: &Options, budget: &mut u64) -> Result<Guesses> {
        let mut guesses = Guesses::default();
        let called = self.name().to_owned();
        let (blocks, kept, names, delimiter) = match self {
            Self::Csv { source, names, delimiter, stream } => match stream {
                Some(stream) => (None, Some(stream), names.clone(), *delimiter),
                None => {
                    let (_, blocks) = open_csv(source, *delimiter, options, &Counter::default())?;
                    (Some(blocks), None, names.clone(), *delimiter)
                }
            },
            Self::Ndjson { source, stream } => match stream {
                Some(stream) => (None, Some(stream), Vec::new(), 0),
                None => (Some(open_lines(source, options, &Counter::default())?), None, Vec::new(), 0),
            },
            Self::Parquet(_) | Self::Ipc(_) => return Ok(guesses),
        };
        let dialect = Dialect { delimiter, null: options.null.clone().map(String::into_bytes) };
        let lines = names.is_empty();
        let reader = Reader::Csv { dialect, width: names.len() };
        let see = |block: Block| {
            if lines { infer::see_lines(&called, &block) } else { Ok(infer::see_grid(&names, &reader.read(block).0)) }
        };
        if !lines {
            guesses = infer::see_grid(&names, &super::grid::Grid::empty(names.len()));
        }
        if let Some(stream) = kept {
            let mut looked = Vec::new();
            let mut size = 0;
            while size < KEPT_BYTES.min(options.infer_bytes.max(1))
                && let Some(block) = stream.next()
            {
                let block = block?;
                size += block.bytes.len() as u64;
                looked.push(block);
            }
            for guess in task::try_map(looked.clone(), see)? {
                guesses.merge(&called, &guess)?;
            }
            stream.put_back(looked);
            return Ok(guesses);
        }
        let within = |block: &Result<Block>| {
            let fits = *budget > 0;
            if let Ok(block) = block {
                *budget = budget.saturating_sub(block.bytes.len() as u64);
            }
            fits
        };
        let blocks = blocks.into_iter().flatten().take_while(within);
        task::pipeline(blocks, task::width() * 2, see, |guess| guesses.merge(&called, &guess))?;
        Ok(guesses)
    }
}

/// Columns whose type was taken from what text looks like.
pub(super) type Inferred = BTreeMap<String, Origin>;

/// The schema of a table that does not exist yet.
pub(super) fn new_schema(sources: &mut [Seen], options: &Options, key: &[String]) -> Result<(Schema, Inferred)> {
    if key.is_empty() {
        return Err(Error::invalid("a new table needs a key; name its columns with --key"));
    }
    let (fields, inferred) = match &options.schema {
        Some(fields) => (fields.clone(), Inferred::new()),
        None => merged_fields(sources, options)?,
    };
    Ok((keyed(fields, key, options.schema.is_none())?, inferred))
}

/// The schema of a new table of these columns; `inferred` is whether their types are what the rows look like.
pub(super) fn keyed(fields: Vec<Field>, key: &[String], inferred: bool) -> Result<Schema> {
    if fields.is_empty() {
        return Err(Error::invalid("the sources have no columns; declare them with --schema"));
    }
    for name in key {
        let field = fields.iter().find(|field| &field.name == name);
        let field = field.ok_or_else(|| {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            let hint = other_separator(&names).map_or_else(String::new, |separator| match separator {
                "\t" => "; is that more than one column? give --format tsv".to_owned(),
                _ => format!("; is that more than one column? give --delimiter '{separator}'"),
            });
            Error::invalid(format!(
                "the key column `{name}` is not in the sources; they have {}{hint}",
                names.join(", ")
            ))
        })?;
        if inferred && !field.ty.can_be_key() {
            let reason = format!(
                "the key column `{name}` looks like {}, which no key can be; declare its type with --schema",
                field.ty
            );
            return Err(Error::invalid(reason));
        }
    }
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    Ok(Schema::new(fields, &key)?)
}

/// All columns of all sources. A declared type (Parquet, Arrow) is stronger than what text looks like.
fn merged_fields(sources: &mut [Seen], options: &Options) -> Result<(Vec<Field>, Inferred)> {
    let mut fields: Vec<Field> = Vec::new();
    let mut from: BTreeMap<String, String> = BTreeMap::new();
    for source in sources.iter() {
        let arrow = match source {
            Seen::Parquet(parquet) => parquet.schema(),
            Seen::Ipc(ipc) => &ipc.schema,
            Seen::Csv { .. } | Seen::Ndjson { .. } => continue,
        };
        let width = arrow.fields().len();
        if width > MAX_COLUMNS {
            let reason = format!("it has {width} columns, and a table at most {MAX_COLUMNS}");
            return Err(Error::source(source.name(), reason));
        }
        for field in super::fields_of(arrow)? {
            match fields.iter_mut().find(|known| known.name == field.name) {
                Some(known) if known.ty == field.ty => known.nullable |= field.nullable,
                Some(known) => {
                    let (here, there) = (source.name(), &from[&field.name]);
                    return Err(Error::invalid(format!(
                        "column `{}` is {} in {here} and {} in {there}; declare its type with --schema",
                        field.name, field.ty, known.ty
                    )));
                }
                None => {
                    from.insert(field.name.clone(), source.name().to_owned());
                    fields.push(field);
                }
            }
        }
    }
    let mut guesses = Guesses::default();
    let mut budget = options.infer_bytes.max(1);
    for source in sources.iter_mut() {
        let guess = source.guess(options, &mut budget)?;
        guesses.merge(source.name(), &guess)?;
    }
    let mut inferred = Inferred::new();
    for (field, origin) in guesses.fields() {
        if !from.contains_key(&field.name) {
            inferred.insert(field.name.clone(), origin);
            fields.push(field);
        }
    }
    Ok((fields, inferred))
}

/// What all sources share.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) schema: Arc<Schema>,
    pub(super) arrow: arrow_schema::SchemaRef,
    pub(super) encoder: KeyEncoder,
    pub(super) shapes: Arc<Shapes>,
    pub(super) inferred: Arc<Inferred>,
    pub(super) counter: Counter,
    pub(super) mode: Mode,
    /// Whether rows may lack columns that may not be null: those of rows that the table has.
    pub(super) partial: bool,
}

/// A source ready to be read.
#[derive(Debug)]
pub(super) struct Planned {
    seen: Seen,
    index: u32,
    columns: Vec<Option<usize>>,
    shape: u32,
}

/// Matches a source's columns with the schema's.
pub(super) fn plan(seen: Seen, index: usize, common: &Common) -> Result<Planned> {
    let (schema, mode) = (&common.schema, common.mode);
    let index = u32::try_from(index).map_err(|_| Error::invalid("too many sources"))?;
    let Some(names) = seen.columns() else {
        let columns = wanted(schema, mode);
        return Ok(Planned { seen, index, columns, shape: 0 });
    };
    let known: BTreeSet<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    if mode != Mode::Delete
        && let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str()))
    {
        let reason = format!(
            "its column `{unknown}` is not in the table; add it first with `alter --add {unknown}:TYPE`, or leave it out \
             of the file"
        );
        return Err(Error::source(seen.name(), reason));
    }
    let mut columns = Vec::with_capacity(schema.columns.len());
    let mut given = Vec::new();
    let mut places: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        places.entry(name).and_modify(|(_, twice)| *twice = true).or_insert((at, false));
    }
    for column in &schema.columns {
        let is_key = schema.key.contains(&column.id);
        let at = places.get(column.name.as_str()).map(|(at, _)| *at);
        let twice = places.get(column.name.as_str()).is_some_and(|(_, twice)| *twice);
        if twice && (is_key || mode != Mode::Delete) {
            return Err(Error::source(seen.name(), format!("it has the column `{}` more than once", column.name)));
        }
        if at.is_none() && (is_key || !column.nullable && mode != Mode::Delete && !common.partial) {
            let why = if is_key { "is part of the key" } else { "may not be null" };
            return Err(Error::source(seen.name(), format!("it has no column `{}`, which {why}", column.name)));
        }
        columns.push(at.filter(|_| is_key || mode != Mode::Delete));
        given.extend(at.map(|_| column.id));
    }
    let all = given.len() == schema.columns.len() || mode != Mode::Upsert;
    let shape = if all { 0 } else { common.shapes.intern(&given)? };
    Ok(Planned { seen, index, columns, shape })
}

/// The columns to look for in records that name them: all, or only the key's.
pub(super) fn wanted(schema: &Schema, mode: Mode) -> Vec<Option<usize>> {
    let mut next = 0;
    let places = schema.columns.iter().map(|column| {
        (mode != Mode::Delete || schema.key.contains(&column.id)).then(|| {
            next += 1;
            next - 1
        })
    });
    places.collect()
}

impl Planned {
    fn fit_plan(&self, common: &Common) -> Result<FitPlan> {
        let types =
            self.columns.iter().map(|at| at.map_or(Ok(None), |at| self.seen.type_of(at))).collect::<Result<_>>()?;
        Ok(FitPlan {
            source: self.index,
            name: self.seen.name().to_owned(),
            schema: common.schema.clone(),
            arrow: common.arrow.clone(),
            encoder: common.encoder.clone(),
            columns: self.columns.clone(),
            types,
            shape: self.shape,
        })
    }

    /// Whether its keys are known to come in order, and after `last`; `None` when it would cost too much to tell.
    pub(super) fn key_order(&mut self, common: &Common, last: &[u8]) -> Result<Option<(bool, Vec<u8>)>> {
        let plan = self.fit_plan(common)?;
        let order = match &mut self.seen {
            Seen::Parquet(parquet) => Some(parquet.key_order(&plan)?),
            Seen::Ipc(ipc) => ipc.key_order(&plan)?,
            Seen::Csv { .. } | Seen::Ndjson { .. } => None,
        };
        Ok(order.map(|order| match order.ends {
            Some((first, end)) => (order.in_order && last <= first.as_slice(), end),
            None => (order.in_order, last.to_vec()),
        }))
    }

    /// Starts reading.
    pub(super) fn chunks(self, options: &Options, common: &Common) -> Result<Chunks> {
        let (fit, mode) = (self.fit_plan(common)?, common.mode);
        let text = |reader| TextPlan {
            source: self.index,
            reader,
            schema: common.schema.clone(),
            arrow: common.arrow.clone(),
            encoder: common.encoder.clone(),
            inferred: common.inferred.clone(),
            partial: common.partial,
            columns: self.columns.clone(),
            shape: self.shape,
            shapes: None,
        };
        match self.seen {
            Seen::Csv { mut source, names, delimiter, stream } => {
                let dialect = Dialect { delimiter, null: options.null.clone().map(String::into_bytes) };
                let plan = text(Reader::Csv { dialect, width: names.len() });
                let blocks = match stream {
                    Some(stream) => stream,
                    None => open_csv(&mut source, delimiter, options, &common.counter)?.1,
                };
                text_chunks(&source.name, blocks, plan)
            }
            Seen::Ndjson { mut source, stream } => {
                let columns = common.schema.columns.iter().zip(&self.columns).filter(|(_, at)| at.is_some());
                let (names, raw): (Vec<String>, Vec<bool>) =
                    columns.map(|(column, _)| (column.name.clone(), nested::keeps_json(&column.ty))).unzip();
                let keys = ndjson::Keys::new(names, raw, mode == Mode::Delete, "alter");
                let mut plan = text(Reader::Ndjson(keys));
                plan.shapes = (mode == Mode::Upsert).then(|| common.shapes.clone());
                let blocks = match stream {
                    Some(stream) => stream,
                    None => open_lines(&mut source, options, &common.counter)?,
                };
                text_chunks(&source.name, blocks, plan)
            }
            Seen::Parquet(parquet) => {
                let (columns, fit) = fit.narrowed();
                let reader = ParquetReader::new(&parquet, &columns, options.batch_rows, common.counter.clone())?;
                Ok(fitted(reader, fit))
            }
            Seen::Ipc(ipc) => {
                let name = ipc.name.clone();
                let weigh = |batch: &Result<RecordBatch>| batch.as_ref().map_or(0, batch_bytes);
                let batches = ipc.batches(options.batch_rows, &common.counter)?;
                let batches = ahead_within("arrow-ipc", (4, IPC_BYTES), weigh, batches);
                Ok(fitted(batches.map_err(|source| Error::Read { name, source })?, fit))
            }
        }
    }
}

/// What a header with one name only is probably separated by.
fn other_separator(names: &[&str]) -> Option<&'static str> {
    let [only] = names else { return None };
    [";", "\t", "|", ","].into_iter().find(|separator| only.contains(*separator))
}

/// Whether all sources together are known to be in key order.
pub(super) fn in_order(sources: &mut [Planned], common: &Common) -> Result<bool> {
    let mut last = Vec::new();
    for source in sources {
        match source.key_order(common, &last)? {
            Some((true, end)) => last = end,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn text_chunks(name: &str, blocks: Blocks, plan: TextPlan) -> Result<Chunks> {
    let width = task::width();
    let blocks = blocks.limited(plan.most_records());
    let chunks = parallel("parse", (width, width * 2), blocks, move |block| plan.parse(block));
    Ok(Box::new(chunks.map_err(|source| Error::Read { name: name.to_owned(), source })?))
}

fn fitted(batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static, plan: FitPlan) -> Chunks {
    let mut next = 1;
    Box::new(batches.map(move |batch| {
        let batch = batch?;
        let first = next;
        next += batch.num_rows() as u64;
        plan.fit(&batch, first)
    }))
}

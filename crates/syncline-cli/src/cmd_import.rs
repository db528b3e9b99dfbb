//! `syncline import`: bring rows into a table.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use syncline_api::client::Client;
use syncline_node::import::{Format, Input, Mode, OnDuplicate};
use syncline_node::ops::import::{self, Report, Request, Sent};
use syncline_node::progress::{Progress, Unit};

use crate::context::{self, Context, Place};
use crate::fault::{Fault, Outcome, Result};
use crate::output::Page;
use crate::units;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline import prices.csv --table prices --key sku -m 'first import'\n  \
                        syncline import jan.parquet feb.parquet --table orders --key region,id\n  \
                        zcat rows.ndjson.gz | syncline import - --format ndjson --table events --key id\n\n\
                        Without -m the rows are staged: see them with `syncline diff`, keep them with `syncline commit`.")]
pub(crate) struct Args {
    /// Files; `-` is standard input
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<String>,
    /// The table; made when it is not there
    #[arg(long, short = 't')]
    table: String,
    /// The key's columns, most significant first; may be left out for a table that exists
    #[arg(long, short = 'k', value_name = "COLUMN[,COLUMN]", value_delimiter = ',')]
    key: Vec<String>,
    /// What happens to rows that are there already
    #[arg(long, value_enum, default_value_t = ModeArg::Upsert)]
    mode: ModeArg,
    /// Commit with this message; without it the rows are staged
    #[arg(long, short = 'm', value_name = "MSG")]
    message: Option<String>,
    /// The format of the sources; else by their names
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// JSON file with the columns of a new table: [{"name": "id", "type": "int64", "nullable": false}, …]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// What happens when the sources have a key more than once
    #[arg(long, value_enum, default_value_t = DuplicateArg::Error)]
    on_duplicate: DuplicateArg,
    /// Write bad rows here and import the rest, instead of refusing the import
    #[arg(long, value_name = "FILE")]
    reject: Option<PathBuf>,
    /// CSV and TSV: the first line is a row; columns are the table's in its order, or column_1, column_2, … of a new one
    #[arg(long)]
    no_header: bool,
    /// CSV: what separates fields
    #[arg(long, value_name = "CHAR")]
    delimiter: Option<char>,
    /// CSV and TSV: besides an empty field, this unquoted text is null
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Allow it to delete more than half of the table
    #[arg(long)]
    allow_mass_delete: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    /// Insert new keys, update those that exist
    Upsert,
    /// The table becomes exactly these rows
    Replace,
    /// Insert; a key that exists is an error
    Append,
    /// Delete the rows with these keys
    Delete,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DuplicateArg {
    /// Refuse and list them
    Error,
    /// Keep the first row
    First,
    /// Keep the last row
    Last,
}

/// A file format, as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// Comma-separated values with a header line
    Csv,
    /// Tab-separated values with a header line
    Tsv,
    /// One JSON object per line
    #[value(alias = "jsonl")]
    Ndjson,
    /// Apache Parquet
    Parquet,
    /// Arrow IPC file
    #[value(alias = "feather")]
    Arrow,
    /// Arrow IPC stream
    ArrowStream,
}

impl From<FormatArg> for Format {
    fn from(arg: FormatArg) -> Self {
        match arg {
            FormatArg::Csv => Self::Csv,
            FormatArg::Tsv => Self::Tsv,
            FormatArg::Ndjson => Self::Ndjson,
            FormatArg::Parquet => Self::Parquet,
            FormatArg::Arrow => Self::Arrow,
            FormatArg::ArrowStream => Self::ArrowStream,
        }
    }
}

impl Args {
    /// The key's columns.
    #[cfg(test)]
    pub(crate) fn key(&self) -> &[String] {
        &self.key
    }

    fn request(&self) -> Result<Request> {
        let read =
            |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
        Ok(Request {
            table: self.table.clone(),
            key: self.key.clone(),
            mode: match self.mode {
                ModeArg::Upsert => Mode::Upsert,
                ModeArg::Replace => Mode::Replace,
                ModeArg::Append => Mode::Append,
                ModeArg::Delete => Mode::Delete,
            },
            format: self.format.map(Format::from),
            schema: self.schema.as_ref().map(read).transpose()?,
            on_duplicate: match self.on_duplicate {
                DuplicateArg::Error => OnDuplicate::Error,
                DuplicateArg::First => OnDuplicate::First,
                DuplicateArg::Last => OnDuplicate::Last,
            },
            reject: self.reject.clone(),
            no_header: self.no_header,
            delimiter: self.delimiter,
            null: self.null.clone(),
            author: None,
            sources: Vec::new(),
            message: self.message.clone(),
            allow_mass_delete: self.allow_mass_delete,
        })
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { author: Some(context.env().author), ..args.request()? };
    let report = match context.place()? {
        Place::Here(replica) => {
            let inputs = args.sources.iter().map(|source| Input::from_arg(source)).collect();
            import::run(&replica, &request, inputs, &context.progress())?
        }
        Place::Node(client) => send(context, &client, request, &args.sources)?,
    };
    context.out.done(&report, |page| show(page, &report))?;
    Ok(None)
}

/// Sends the sources to a node, one after the other.
fn send(context: &Context, client: &Client, mut request: Request, sources: &[String]) -> Result<Report> {
    let (sent, mut input) = Sources::open(sources)?;
    let total = sent.iter().map(|source| source.bytes).sum::<Option<u64>>().unwrap_or(0);
    request.sources = sent;
    let progress = context.progress();
    progress.stage("sending", total, Unit::Bytes);
    input.progress = Some(Arc::clone(&progress));
    context::call(client, "import", &request, Some(&mut input), &mut std::io::sink(), &*progress)
}

/// Sources as one stream: exactly as many bytes of each as were announced.
struct Sources {
    left: VecDeque<(Box<dyn Read>, Sent)>,
    progress: Option<Arc<dyn Progress>>,
}

impl Sources {
    fn open(sources: &[String]) -> Result<(Vec<Sent>, Self)> {
        let mut left = VecDeque::new();
        for (i, source) in sources.iter().enumerate() {
            let (reader, bytes): (Box<dyn Read>, _) = if source == "-" {
                (Box::new(std::io::stdin()), None)
            } else {
                let file = File::open(source).with_context(|| format!("opening {source}"))?;
                let meta = file.metadata().with_context(|| format!("opening {source}"))?;
                (Box::new(file), meta.is_file().then_some(meta.len()))
            };
            if bytes.is_none() && i + 1 < sources.len() {
                return Err(Fault::invalid(format!(
                    "import of {source} on a node: nobody knows how long it is\nname it last, or import it by itself"
                )));
            }
            let name = if source == "-" { "standard input".to_owned() } else { source.clone() };
            left.push_back((reader, Sent { name, bytes }));
        }
        let sent = left.iter().map(|(_, sent)| sent.clone()).collect();
        Ok((sent, Self { left, progress: None }))
    }
}

impl Read for Sources {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while let Some((reader, sent)) = self.left.front_mut() {
            let most =
                sent.bytes.map_or(out.len(), |bytes| usize::try_from(bytes).unwrap_or(usize::MAX).min(out.len()));
            let read = if most == 0 { 0 } else { reader.read(&mut out[..most])? };
            if read > 0 {
                sent.bytes = sent.bytes.map(|bytes| bytes - read as u64);
                self.progress.iter().for_each(|progress| progress.advance(read as u64));
                return Ok(read);
            }
            if sent.bytes.is_some_and(|bytes| bytes > 0) && !out.is_empty() {
                return Err(std::io::Error::other(format!("{} became shorter while it was sent", sent.name)));
            }
            self.left.pop_front();
        }
        Ok(0)
    }
}

/// The format that a file's name tells.
pub(crate) fn format_of(name: &str) -> Option<Format> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "csv" => Some(Format::Csv),
        "tsv" | "tab" => Some(Format::Tsv),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "parquet" | "pq" => Some(Format::Parquet),
        "arrow" | "feather" | "ipc" => Some(Format::Arrow),
        "arrows" => Some(Format::ArrowStream),
        _ => None,
    }
}

fn show(page: &mut Page, report: &Report) {
    page.line(format!(
        "{}: {} inserted, {} updated, {} deleted, {} unchanged; {} now",
        report.table,
        units::count(report.inserted),
        units::count(report.updated),
        units::count(report.deleted),
        units::count(report.unchanged),
        units::counted(report.rows, "row", "rows"),
    ));
    if report.read.rejected > 0 {
        page.line(format!("{} did not fit and were put aside", units::counted(report.read.rejected, "row", "rows")));
        for bad in &report.read.bad_rows {
            page.line(format!("  {}: {}", bad.place, bad.reason));
        }
    }
    match report.commit {
        _ if report.staged => page.line("staged; keep it with `syncline commit -m MSG`"),
        Some(commit) => page.line(format!("commit {}", commit.short())),
        None => page.line("nothing changed"),
    }
    page.line(format!("root   {}", report.root));
    let rate = if report.seconds > 0.0 { report.read.rows as f64 / report.seconds } else { 0.0 };
    page.line(format!(
        "read {} in {} ({} rows/s)",
        units::bytes(report.read.bytes_read),
        units::seconds(report.seconds),
        units::count(rate as u64)
    ));
}

//! `syncline table`: live tables, made, changed and shown.

use syncline_node::live::definition::{Granularity, Scope};
use syncline_node::ops::table::{self, Report, Request, Wanted};

use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};
use crate::output::{Align, Page, Table};
use crate::units;

/// Arguments of `table`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline table create people --key id:int64 --column name:utf8 --writers many\n  \
                        syncline table set people --resolver first-writer --add born:date32\n  \
                        syncline table create accounts --key id --column n:int64 --writers strict\n  syncline table show"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a live table
    Create(Create),
    /// Change what is decided about a live table, or its columns
    Set(Set),
    /// Show a live table, or all
    Show {
        /// The table
        table: Option<String>,
    },
}

/// Decisions about a table.
#[derive(Debug, clap::Args)]
struct Decisions {
    /// Who may write: this replica alone, every replica, or every replica whose transactions one replica certifies
    #[arg(long, value_name = "one|many|strict")]
    writers: Option<String>,
    /// Of a strict table: the hub that certifies, by the id that `status` shows, or `here`; else the hub that makes the table
    #[arg(long, value_name = "ID")]
    certifier: Option<String>,
    /// What is in conflict when written at once: rows or single columns
    #[arg(long, value_name = "row|column")]
    granularity: Option<String>,
    /// What stands or falls together: rows, or all rows that a transaction wrote
    #[arg(long, value_name = "row|txn")]
    scope: Option<String>,
    /// What readers see of several values: last-writer, first-writer, origin:A,B, max:COLUMN, min:COLUMN, union:COLUMN, counter:COLUMN, expression:TEXT,
    /// ask
    #[arg(long, value_name = "RESOLVER")]
    resolver: Option<String>,
}

impl Decisions {
    fn wanted(&self) -> Wanted {
        Wanted {
            writers: self.writers.clone(),
            certifier: self.certifier.clone(),
            take_over: false,
            granularity: self.granularity.clone(),
            scope: self.scope.clone(),
            resolver: self.resolver.clone(),
        }
    }
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The table
    table: String,
    /// The key's columns, most significant first, with their types; a column without one is text
    #[arg(long, short = 'k', value_name = "COLUMN[:TYPE][,COLUMN[:TYPE]]", value_delimiter = ',', required = true)]
    key: Vec<String>,
    /// Another column; may be given several times
    #[arg(long, value_name = "NAME:TYPE")]
    column: Vec<String>,
    /// Even if versions have a table of that name: the next commit replaces it by this one
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    decisions: Decisions,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// The table
    table: String,
    #[command(flatten)]
    decisions: Decisions,
    /// Of a strict table: certify here from now on, although another replica does. Only when that has gone for good: what it let in and has not
    /// come here becomes a conflict
    #[arg(long)]
    take_over: bool,
    /// Give a column another name; may be given several times, as all below
    #[arg(long, value_name = "OLD:NEW")]
    rename: Vec<String>,
    /// Give a column a type that holds every value that it can have now
    #[arg(long, value_name = "NAME:TYPE")]
    widen: Vec<String>,
    /// Add a column, null in every row
    #[arg(long, value_name = "NAME:TYPE")]
    add: Vec<String>,
    /// Mark a column as one that goes soon
    #[arg(long, value_name = "NAME")]
    deprecate: Vec<String>,
    /// Drop a column
    #[arg(long, value_name = "NAME")]
    drop: Vec<String>,
}

fn pairs(option: &str, of: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |text: &String| match text.split_once(':') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.to_owned(), b.to_owned())),
        _ => Err(Fault::invalid(format!("{option} {text}: it takes two words with a colon between them"))),
    };
    of.iter().map(pair).collect()
}

fn request(action: &Action) -> Result<Request> {
    Ok(match action {
        Action::Show { table } => Request::Show { table: table.clone() },
        Action::Create(args) => {
            let mut columns = pairs("--column", &args.column)?;
            let typed: Vec<(String, String)> = args
                .key
                .iter()
                .filter_map(|key| key.split_once(':'))
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect();
            columns.splice(0..0, typed);
            let key = args.key.iter().map(|key| key.split_once(':').map_or(&key[..], |(name, _)| name).to_owned());
            Request::Create {
                table: args.table.clone(),
                key: key.collect(),
                columns,
                settings: args.decisions.wanted(),
                replace: args.replace,
            }
        }
        Action::Set(args) => Request::Set {
            table: args.table.clone(),
            settings: Wanted { take_over: args.take_over, ..args.decisions.wanted() },
            rename: pairs("--rename", &args.rename)?,
            widen: pairs("--widen", &args.widen)?,
            add: pairs("--add", &args.add)?,
            deprecate: args.deprecate.clone(),
            drop: args.drop.clone(),
        },
    })
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = request(&args.action)?;
    let report = context
        .ask_live("table", &request, &mut std::io::empty(), |replica, request, _| table::run(replica, request))?;
    if matches!(request, Request::Show { .. }) {
        context.out.answer(&report, |page| show(page, &report))?;
    } else {
        context.out.done(&report, |page| show(page, &report))?;
    }
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    if report.tables.is_empty() {
        page.line("no live tables yet; make one with `syncline table create`, or `syncline put --key`");
    }
    for shown in &report.tables {
        page.gap();
        let rows = units::counted(shown.rows, "row", "rows");
        let strict = shown.writers.strip_prefix("strict: ");
        let whose = if let Some(certifier) = strict {
            if shown.ours { "strict, certified here" } else { &format!("strict, certified by replica {certifier}") }
        } else if shown.writers == "many" {
            "many writers"
        } else if shown.ours {
            "written here alone"
        } else {
            "written elsewhere alone"
        };
        let by = match (shown.granularity, shown.scope) {
            (Granularity::Column, _) => ", by column",
            (_, Scope::Txn) => ", by transaction",
            _ => "",
        };
        page.line(format!("{}: {rows}, {whose}, resolver {}{by}", shown.table, shown.resolver));
        let mut table = Table::new([("  column", Align::Left), ("type", Align::Left), ("", Align::Left)]);
        for column in &shown.columns {
            let note = match (column.key, column.deprecated, column.nullable) {
                (true, ..) => "key",
                (_, true, _) => "deprecated",
                (.., false) => "not null",
                _ => "",
            };
            table.row([format!("  {}", column.name), column.ty.clone(), note.to_owned()]);
        }
        page.table(&table);
    }
    if let Some(transaction) = &report.transaction {
        page.line(format!("transaction {transaction}"));
    }
}

//! `syncline conflicts list`, `show` and `resolve`: rows of live tables in conflict.

use syncline_node::ops::live_conflicts::{self, Conflict, Decision, Report, Request, Resolve};

use crate::cmd_get::siblings_of;
use crate::cmd_put;
use crate::context::Context;
use crate::fault::{Outcome, Result};
use crate::output::Page;
use crate::units;

/// What is done with rows in conflict.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// List rows of live tables that are in conflict
    List {
        /// Only this table
        #[arg(long, short = 't')]
        table: Option<String>,
        /// At most so many rows [default: 100]
        #[arg(long, short = 'n', value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one row in conflict with all its values
    Show {
        #[command(flatten)]
        row: RowArgs,
    },
    /// Decide one row in conflict
    Resolve(ResolveArgs),
}

/// Names a row.
#[derive(Debug, clap::Args)]
pub(super) struct RowArgs {
    /// The table
    #[arg(long, short = 't')]
    table: String,
    /// The row's key: its text, with commas between columns, or an object
    #[arg(long, short = 'k', value_name = "KEY", allow_hyphen_values = true)]
    key: String,
}

/// What a row in conflict becomes.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("decision").required(true))]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    row: RowArgs,
    /// Take the value that this transaction wrote; its first digits do where no other value has them
    #[arg(long, value_name = "TRANSACTION", group = "decision")]
    take: Option<String>,
    /// Write this object; a column that it leaves out keeps the cell that readers see
    #[arg(long = "row", value_name = "JSON", group = "decision")]
    object: Option<String>,
    /// Delete the row
    #[arg(long, group = "decision")]
    delete: bool,
    /// What was seen: a position as `list`, `show` or `get` print it. When other values have come since, nothing is decided
    #[arg(long, value_name = "POSITION")]
    read: Option<String>,
}

impl ResolveArgs {
    fn decision(&self) -> Decision {
        match (&self.take, &self.object) {
            (Some(transaction), _) => Decision::Take(transaction.clone()),
            (None, Some(row)) => Decision::Row(row.clone()),
            (None, None) => Decision::Delete,
        }
    }
}

/// How many rows are in conflict.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Count {
    pub(super) open: u64,
    waiting: u64,
}

impl Count {
    fn of(report: &Report) -> Self {
        Self { open: report.open, waiting: report.waiting }
    }

    /// In words.
    pub(super) fn told(self) -> String {
        let rows = units::counted(self.open, "row is", "rows are");
        let waiting = match self.waiting {
            0 => String::new(),
            n if n == self.open => ", waiting for somebody who decides".to_owned(),
            n => format!(", {} of them waiting for somebody who decides", units::count(n)),
        };
        format!("{rows} in conflict{waiting}")
    }
}

fn ask(context: &Context, request: &Request) -> Result<Report> {
    context.ask_live("live-conflicts", request, &mut std::io::empty(), |replica, request, _| {
        live_conflicts::run(replica, request)
    })
}

/// How many rows of all live tables are in conflict.
pub(super) fn count(context: &Context) -> Result<Count> {
    Ok(Count::of(&ask(context, &Request::Count)?))
}

/// `limit` is that of the command that this one is under.
pub(super) fn run(context: &Context, action: &Action, limit: Option<usize>) -> Outcome {
    let request = match action {
        Action::List { table, limit: own } => {
            Request::List { table: table.clone(), limit: own.or(limit).unwrap_or(super::LIMIT) }
        }
        Action::Show { row } => Request::Show { table: row.table.clone(), key: row.key.clone() },
        Action::Resolve(args) => return resolve(context, args),
    };
    let report = ask(context, &request)?;
    context.out.answer(&report, |page| show(page, &report))?;
    Ok(None)
}

fn resolve(context: &Context, args: &ResolveArgs) -> Outcome {
    let (table, key) = (args.row.table.clone(), args.row.key.clone());
    let request = Resolve { table, key, decision: args.decision(), read: args.read.clone() };
    let report = context.ask_live("live-resolve", &request, &mut std::io::empty(), |replica, request, _| {
        live_conflicts::resolve(replica, request)
    })?;
    context.out.done(&report, |page| cmd_put::show(page, &report, "decided"))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    if report.open == 0 {
        page.line("no row is in conflict");
        return;
    }
    page.line(Count::of(report).told());
    if report.torn > 0 {
        let torn = units::counted(report.torn, "transaction is", "transactions are");
        page.line(format!("{torn} torn: readers see it in some rows and not in others"));
    }
    for conflict in &report.conflicts {
        page.gap();
        show_one(page, conflict);
    }
    for (table, why) in &report.unreadable {
        page.gap();
        page.line(format!("{table}: has rows in conflict that cannot be shown: {why}"));
    }
    page.gap();
    let shown = report.conflicts.len() as u64;
    if report.unreadable.is_empty() && report.open > shown {
        page.line(format!("and {} more; show more with --limit N", units::count(report.open - shown)));
    }
    page.line(format!("position {}", report.position));
    page.line("decide with `syncline conflicts resolve --table T --key K --take TRANSACTION --read POSITION`");
}

fn show_one(page: &mut Page, conflict: &Conflict) {
    let Conflict { table, key, resolver, asks, columns, siblings } = conflict;
    let how = if *asks {
        "waits for somebody who decides; until then readers see the last written".to_owned()
    } else {
        format!("readers see what {resolver} picks")
    };
    let what = match columns.len() {
        0 => String::new(),
        1 => format!(" column {}", columns[0]),
        _ => format!(" columns {}", columns.join(", ")),
    };
    page.line(format!("{table} key {key}{what}: {how}"));
    siblings_of(page, siblings);
}

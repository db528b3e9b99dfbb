//! `syncline conflicts list`, `show` and `resolve`: rows of live tables, and live files, in conflict.

use syncline_node::ops::live_conflicts::{self, Conflict, Report, Request, Resolve, files};

use super::place::{DecisionArgs, Place, PlaceArgs};
use crate::cmd_get::siblings_of;
use crate::cmd_put;
use crate::context::Context;
use crate::fault::{Outcome, Result};
use crate::output::{Align, Page, Table};
use crate::units;

/// What is done with rows and files in conflict.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// List rows of live tables, and live files, that are in conflict
    List {
        /// Only this table
        #[arg(long, short = 't')]
        table: Option<String>,
        /// Only files
        #[arg(long, conflicts_with = "table")]
        files: bool,
        /// At most so many rows and files [default: 100]
        #[arg(long, short = 'n', value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one row or file in conflict with all that was written to it
    Show {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Decide one row or file in conflict
    Resolve(ResolveArgs),
}

/// Decides one of them.
#[derive(Debug, clap::Args)]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    decision: DecisionArgs,
    /// What was seen: a position as `list`, `show` or `get` print it. When something else was written since, nothing is decided
    #[arg(long, value_name = "POSITION")]
    read: Option<String>,
}

/// How many rows and files are in conflict.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Count {
    pub(super) open: u64,
    waiting: u64,
    pub(super) files: u64,
}

impl Count {
    fn of(report: &Report) -> Self {
        Self { open: report.open, waiting: report.waiting, files: report.open_files }
    }

    /// In words.
    pub(super) fn told(self) -> String {
        let files = format!("{} in conflict", units::counted(self.files, "file is", "files are"));
        match (self.open, self.files) {
            (_, 0) => self.rows(),
            (0, _) => files,
            _ => format!("{}; {files}", self.rows()),
        }
    }

    fn rows(self) -> String {
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

/// How many rows of all live tables, and how many files, are in conflict.
pub(super) fn count(context: &Context) -> Result<Count> {
    Ok(Count::of(&ask(context, &Request::Count)?))
}

/// `limit` is that of the command that this one is under.
pub(super) fn run(context: &Context, action: &Action, limit: Option<usize>) -> Outcome {
    let request = match action {
        Action::List { table, files, limit: own } => {
            let limit = own.or(limit).unwrap_or(super::LIMIT);
            if *files { Request::ListFiles { limit } } else { Request::List { table: table.clone(), limit } }
        }
        Action::Show { place } => place.show()?,
        Action::Resolve(args) => return resolve(context, args),
    };
    let report = ask(context, &request)?;
    context.out.answer(&report, |page| show(page, &report))?;
    Ok(None)
}

fn resolve(context: &Context, args: &ResolveArgs) -> Outcome {
    let (mut live, read) = (context.live()?, args.read.clone());
    let report = match args.place.place()? {
        Place::Row(table, key) => {
            let decision = args.decision.of_row();
            let request = Resolve { table: table.to_owned(), key: key.to_owned(), decision, read };
            live.ask("live-resolve", &request, &mut std::io::empty(), |replica, request, _| {
                live_conflicts::resolve(replica, request)
            })?
        }
        Place::File(path) => {
            let decision = args.decision.of_file(&mut live, path)?;
            let request = files::Resolve { file: path.to_owned(), decision, read };
            live.ask("live-resolve-file", &request, &mut std::io::empty(), |replica, request, _| {
                files::resolve(replica, request)
            })?
        }
    };
    context.out.done(&report, |page| cmd_put::show(page, &report, "decided"))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    if report.open + report.open_files == 0 {
        page.line("nothing is in conflict");
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
    for conflict in &report.files {
        page.gap();
        show_file(page, conflict);
    }
    for (table, why) in &report.unreadable {
        page.gap();
        page.line(format!("{table}: has rows in conflict that cannot be shown: {why}"));
    }
    page.gap();
    let (open, shown) = (report.open + report.open_files, (report.conflicts.len() + report.files.len()) as u64);
    if report.unreadable.is_empty() && open > shown {
        page.line(format!("and {} more; show more with --limit N", units::count(open - shown)));
    }
    page.line(format!("position {}", report.position));
    if report.open > 0 {
        page.line("decide with `syncline conflicts resolve --table T --key K --take TRANSACTION --read POSITION`");
    }
    if report.open_files > 0 {
        page.line("decide a file with `syncline conflicts resolve --file PATH --take TRANSACTION --read POSITION`");
    }
}

fn show_file(page: &mut Page, conflict: &files::Conflict) {
    let files::Conflict { file, below, siblings } = conflict;
    match below {
        Some(below) => page.line(format!("file {file}: the path is a folder, because {below} is in it")),
        None => page.line(format!("file {file}: what was written last is at the path")),
    }
    let columns = [
        ("", Align::Left),
        ("", Align::Left),
        ("", Align::Right),
        ("shown at", Align::Left),
        ("transaction", Align::Left),
    ];
    let mut table = Table::new(columns);
    for version in siblings {
        let mark = if version.visible { "  *" } else { "" };
        let kind = version.kind.as_deref().unwrap_or("(cannot be read)");
        let kind = if version.executable { "file, executable" } else { kind };
        let bytes = version.kind.as_deref().filter(|kind| *kind == "file").map(|_| units::bytes(version.bytes));
        let shown = version.shown.as_deref().unwrap_or("nowhere");
        let way = if version.on_its_way { " (its content is on its way)" } else { "" };
        let waits = if version.taken { "" } else { " (waits for a hub)" };
        table.row([
            mark.to_owned(),
            kind.to_owned(),
            bytes.unwrap_or_default(),
            format!("{shown}{way}"),
            format!("{}{waits}", version.transaction),
        ]);
    }
    page.table(&table);
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

//! `syncline scope`: the parts of a dataset that spokes can hold, made, shown and removed.

use syncline_node::ops::scope::{self, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::Page;

/// Arguments of `scope`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline scope set eu --table orders --where 'region = \"eu\" AND id < 1000'\n  \
                  syncline scope set eu --add --table customers --columns name,city\n  \
                  syncline scope set models --path 'models/**' --table 'metrics_*'\n  \
                  syncline up -C edge --upstream http://hub:7070/shop --scope eu\n\n\
                  A condition is on columns of the table's key: = <> < <= > >= IN BETWEEN LIKE 'beginning%' AND OR NOT. Who follows a \
                  scope holds what is in it and nothing else. When a scope is changed, they get what comes in and forget \
                  what leaves; nothing is deleted.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a scope, or make it anew
    Set {
        /// The scope
        name: String,
        /// Keep what is in it of other tables and paths
        #[arg(long)]
        add: bool,
        /// A table, or a pattern with * and ?; may be given several times
        #[arg(long, short = 't', value_name = "TABLE")]
        table: Vec<String>,
        /// Which rows of these tables, by columns of their keys; all if it is not given
        #[arg(long = "where", value_name = "CONDITION", requires = "table")]
        condition: Option<String>,
        /// Which columns of these tables beside those of the key; all if it is not given
        #[arg(long, value_name = "COLUMN[,COLUMN]", value_delimiter = ',', requires = "table")]
        columns: Option<Vec<String>>,
        /// Files, by a pattern with *, ** and ?; may be given several times
        #[arg(long, value_name = "PATTERN")]
        path: Vec<String>,
    },
    /// List all scopes
    Ls,
    /// Show a scope
    Show {
        /// The scope
        name: String,
    },
    /// Remove a scope: who follows it keeps what it has and gets nothing further
    Rm {
        /// The scope
        name: String,
    },
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = match &args.action {
        Action::Set { name, add, table, condition, columns, path } => Request::Set {
            name: name.clone(),
            add: *add,
            tables: table.clone(),
            condition: condition.clone(),
            columns: columns.clone(),
            paths: path.clone(),
        },
        Action::Ls => Request::Show { name: None },
        Action::Show { name } => Request::Show { name: Some(name.clone()) },
        Action::Rm { name } => Request::Remove { name: name.clone() },
    };
    let report = context
        .ask_live("scope", &request, &mut std::io::empty(), |replica, request, _| scope::run(replica, request))?;
    match &request {
        Request::Show { .. } => context.out.answer(&report, |page| show(page, &report))?,
        Request::Remove { name } => context.out.done(&report, |page| {
            page.line(format!("scope {name} is removed: who follows it keeps what it has and gets nothing further"));
        })?,
        Request::Set { .. } => context.out.done(&report, |page| show(page, &report))?,
    }
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    if report.scopes.is_empty() {
        page.line("no scopes yet; make one with `syncline scope set`");
    }
    for shown in &report.scopes {
        page.gap();
        page.line(format!("{}: version {}", shown.scope, shown.version));
        for rule in &shown.tables {
            let rows = rule.condition.as_ref().map_or_else(String::new, |text| format!(" where {text}"));
            let columns = rule.columns.as_ref().map_or_else(String::new, |names| format!(" ({})", names.join(", ")));
            page.line(format!("  table {}{columns}{rows}", rule.table));
        }
        for path in &shown.paths {
            page.line(format!("  path {path}"));
        }
    }
    if let Some(transaction) = &report.transaction {
        page.line(format!("transaction {transaction}"));
    }
}

//! `syncline key`: the keys of replicas, what they have signed, and those that are revoked.

use syncline_node::ops::key::{self, Key, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{Align, Page, Table};
use crate::units;

/// Arguments of `key`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline key ls\n  syncline key show --json\n  syncline key revoke 5f3a90c1 --reason \"laptop stolen\"\n\n\
                        Each replica has a key and signs what it writes. Once a key is revoked, no hub takes in anything further of its \
                        replica; what hubs had taken in stays. Revoke its token, too: a key says who wrote, not who may read."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List keys, with how much they wrote and signed
    Ls,
    /// Show a key and the names that it wrote under; this replica's when none is given
    Show {
        /// Its hex digits, or the first 8 or more of them
        key: Option<String>,
    },
    /// Have hubs take in nothing further of a key
    Revoke {
        /// Its hex digits, or the first 8 or more of them
        key: String,
        /// Why, for people
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = match &args.action {
        Action::Ls => Request::Ls,
        Action::Show { key } => Request::Show { key: key.clone() },
        Action::Revoke { key, reason } => Request::Revoke { key: key.clone(), reason: reason.clone() },
    };
    let report =
        context.ask_live("key", &request, &mut std::io::empty(), |replica, request, _| key::run(replica, request))?;
    match &request {
        Request::Ls => context.out.answer(&report, |page| list(page, &report))?,
        Request::Show { .. } => context.out.answer(&report, |page| show(page, &report))?,
        Request::Revoke { .. } => context.out.done(&report, |page| revoked(page, &report))?,
    }
    Ok(None)
}

fn name(key: &Key) -> &str {
    key.key.as_deref().unwrap_or("(not known)")
}

fn state(key: &Key) -> String {
    match &key.revoked {
        Some(revoked) => format!("revoked {}", units::time(revoked.time_ms)),
        None if key.ours => "this replica".to_owned(),
        None => String::new(),
    }
}

fn list(page: &mut Page, report: &Report) {
    let mut table =
        Table::new([("key", Align::Left), ("transactions", Align::Right), ("signed", Align::Right), ("", Align::Left)]);
    for key in &report.keys {
        table.row([name(key).to_owned(), units::count(key.transactions), units::count(key.attested), state(key)]);
    }
    page.table(&table);
}

fn show(page: &mut Page, report: &Report) {
    for key in &report.keys {
        page.line(format!("key {} {}", name(key), state(key)).trim_end());
        if let Some(revoked) = &key.revoked {
            page.line(format!("revoked by {}: {}", revoked.by, revoked.reason.as_deref().unwrap_or("no reason given")));
        }
        let mut table = Table::new([
            ("name", Align::Left),
            ("transactions", Align::Right),
            ("signed", Align::Right),
            ("", Align::Left),
        ]);
        for origin in &key.origins {
            let state = match (&origin.against, origin.forked) {
                (Some(_), _) => "FROZEN: its key has signed two histories",
                (None, true) => "FROZEN: two branches",
                (None, false) => "",
            };
            let counts = [origin.transactions, origin.attested].map(units::count);
            let [transactions, attested] = counts;
            table.row([origin.origin.clone(), transactions, attested, state.to_owned()]);
        }
        page.table(&table);
    }
}

fn revoked(page: &mut Page, report: &Report) {
    for key in &report.keys {
        page.line(format!("{} is revoked", name(key)));
    }
    page.line(match report.taken {
        Some(true) => "this hub takes in nothing further of it; other hubs do once they have this",
        Some(false) => "hubs take in nothing further of it once this has come there",
        None => "it was before",
    });
}

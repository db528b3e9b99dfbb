//! `syncline status`: what is staged, which files were edited, what waits.

use std::time::Duration;

use syncline_base::Kind;
use syncline_node::live::engine::{Lag, MemberState};
use syncline_node::ops::diff;
use syncline_node::ops::live;
use syncline_node::ops::status::{self, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{self, Align, Page, Table, short};
use crate::units;

/// How many edited files are listed without `--all`.
const FILES_SHOWN: usize = 40;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline status\n  syncline status --prove --json\n\n\
                        Connected replicas compare their live tables by themselves every few seconds: equal transactions are equal \
                        rows. One that differs is an alarm that stays (exit code 7).")]
pub(crate) struct Args {
    /// Read every file again instead of trusting sizes and times
    #[arg(long)]
    checksum: bool,
    /// List every edited file
    #[arg(long)]
    all: bool,
    /// Compare live tables with the replicas that are connected first, for at most so long
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10s", value_parser = units::parse_duration)]
    prove: Option<Duration>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { checksum: args.checksum };
    let report = context.ask("status", &request, |replica, progress| status::run(replica, &request, &**progress))?;
    let prove_ms = args.prove.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let asked = live::Request { prove_ms };
    let live = context.ask_live("live", &asked, &mut std::io::empty(), |replica, asked, _| live::run(replica, asked));
    // Who has the live tables may not be reachable from here; the rest is shown all the same.
    let damaged = live.as_ref().is_err_and(|fault| fault.is(Kind::Corrupt));
    let (live, fault) = match live {
        Ok(live) => (live, None),
        Err(fault) if prove_ms.is_some() => return Err(fault),
        Err(fault) => (None, Some(fault.to_string())),
    };
    let shown = Shown { report: &report, live: live.as_ref(), live_unavailable: fault };
    context.out.answer(&shown, |page| {
        show(page, &report, args.all);
        show_live(page, &shown);
    })?;
    let contradicted = |live: &live::Report| live.trust.frozen.iter().any(|origin| origin.against.is_some());
    let alarm = |live: &live::Report| {
        !live.alarms.is_empty() || live.renewal.is_some() || !live.trust.distrust.is_empty() || contradicted(live)
    };
    let alarm = damaged || shown.live.is_some_and(alarm);
    Ok(alarm.then_some(Kind::Corrupt))
}

/// Everything that is shown, as one object.
#[derive(Debug, serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<&'a live::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live_unavailable: Option<String>,
}

fn show_live(page: &mut Page, shown: &Shown<'_>) {
    if let Some(why) = &shown.live_unavailable {
        page.gap();
        page.line(format!("live tables: not known: {why}"));
    }
    let Some(live) = shown.live else { return };
    page.gap();
    page.line(match (&live.upstream, &live.connected_to) {
        (Some(upstream), Some(hub)) if upstream != hub => {
            format!("live: {} of {upstream}, which is away; connected to {hub}", live.role)
        }
        (Some(upstream), None) if live.connected == 0 => {
            format!("live: {} of {upstream}, not connected", live.role)
        }
        (Some(upstream), _) => format!("live: {} of {upstream}", live.role),
        (None, _) => format!("live: {}", live.role),
    });
    for away in &live.away {
        page.line(format!("not connected to {}: {}", away.url, away.why));
    }
    show_members(page, live);
    match (&live.follows, &live.scope) {
        (follows, Some(held)) => {
            page.line(format!("holds scope {:?}, version {}, and nothing else", held.name, held.version));
            if follows.as_ref() != Some(&held.name) {
                let next = follows.as_ref().map_or("everything".to_owned(), |name| format!("scope {name:?}"));
                page.line(format!("follows {next}, which has not come yet"));
            }
        }
        (Some(follows), None) => page.line(format!("follows scope {follows:?}, which has not come yet")),
        (None, None) => {}
    }
    show_outside(page, live);
    let mut table = Table::new([("table", Align::Left), ("rows", Align::Right)]);
    for (name, rows) in &live.tables {
        table.row([name.clone(), units::count(*rows)]);
    }
    page.table(&table);
    let behind = if live.behind > 0 && live.lag.is_none() {
        format!(", {} behind", units::count(live.behind))
    } else {
        String::new()
    };
    let unsent = units::counted(live.unsent, "transaction waits", "transactions wait");
    page.line(format!(
        "{}{behind}; {unsent} for a hub",
        units::counted(live.transactions, "transaction", "transactions")
    ));
    if live.conflicts > 0 {
        page.line(format!("{} in conflict", units::counted(live.conflicts, "row is", "rows are")));
    }
    if live.file_conflicts > 0 {
        page.line(format!("{} in conflict", units::counted(live.file_conflicts, "file is", "files are")));
    }
    page.line(format!("replica root {}", live.root));
    page.line(format!("position     {}", live.position));
    if let Some(lag) = &live.lag {
        page.line(format!("lag          {}", lag_of(lag)));
    }
    if let Some(renewal) = &live.renewal {
        page.gap();
        page.line(format!("DAMAGED since {}: {}", units::time(renewal.time_ms), renewal.why));
        let from = renewal.from.as_deref().unwrap_or("the next replica that is connected");
        page.line(format!("all rows are being taken anew from {from}; nothing is written here until they have come"));
    }
    show_proofs(page, live);
    show_trust(page, &live.trust);
}

/// What the directory has beside the scope.
fn show_outside(page: &mut Page, live: &live::Report) {
    let Some(outside) = live.outside.as_ref().filter(|outside| outside.count > 0) else { return };
    let lie = if outside.count == 1 { "lies" } else { "lie" };
    let files = units::counted(outside.count, "file", "files");
    page.line(format!("{files} {lie} outside of it, not sent, and nowhere but here:"));
    for path in &outside.paths {
        page.line(format!("  {path}"));
    }
    if outside.count > outside.paths.len() as u64 {
        page.line(format!("  and {} more", units::count(outside.count - outside.paths.len() as u64)));
    }
}

/// Which hubs there are.
fn show_members(page: &mut Page, live: &live::Report) {
    let mut table = Table::new([("hub", Align::Left), ("state", Align::Left), ("for", Align::Right)]);
    for member in &live.members {
        let state = match (member.state, member.here) {
            (_, true) => "this one",
            (MemberState::Alive, _) => "alive",
            (MemberState::Suspect, _) => "suspect",
            (MemberState::Gone, _) => "gone",
        };
        let since = Duration::from_millis(live.now_ms.saturating_sub(member.since_ms)).as_secs_f64();
        table.row([member.url.clone(), state.to_owned(), units::seconds(since)]);
    }
    page.table(&table);
}

/// Who vouches for what is here.
fn show_trust(page: &mut Page, trust: &live::Trust) {
    if trust.key.is_empty() {
        // Of a node that is older.
        return;
    }
    let open = match trust.origins - trust.signed {
        0 => "all".to_owned(),
        open => format!("all but {}", units::count(open)),
    };
    page.line(format!("written under {}, {open} signed to the end", units::counted(trust.origins, "name", "names")));
    if trust.revoked_keys > 0 {
        page.line(format!(
            "{} revoked; see `syncline key ls`",
            units::counted(trust.revoked_keys, "key is", "keys are")
        ));
    }
    if trust.revoked {
        page.line("THE KEY OF THIS REPLICA IS REVOKED: no hub takes in what is written here; what waits is kept");
    }
    if let Some(denied) = &trust.denied {
        let hub = denied.url.as_deref().unwrap_or("a hub");
        page.line(format!(
            "{hub} DENIES transaction {} of {} and what follows: {}",
            denied.seq, denied.origin, denied.why
        ));
    }
    for origin in &trust.frozen {
        match &origin.against {
            Some(against) => {
                page.line(format!("FROZEN {}: its key has signed two histories, or one was altered", origin.origin));
                for head in origin.signed.iter().chain([against]) {
                    page.line(format!(
                        "signed: {} transactions, hash {}, signature {}",
                        head.seq, head.hash, head.signature
                    ));
                }
            }
            None => page.line(format!("FROZEN {}: it was written on two branches (a copy ran)", origin.origin)),
        }
    }
    for distrust in &trust.distrust {
        let from = distrust.url.as_deref().unwrap_or("a replica that had connected");
        let when = units::time(distrust.time_ms);
        page.line(format!(
            "NOT BELIEVED from {from}, {when}: transaction {} of {}: {}",
            distrust.seq, distrust.origin, distrust.why
        ));
    }
}

fn lag_of(lag: &Lag) -> String {
    let bytes = lag.bytes.map_or_else(|| "bytes not known".to_owned(), units::bytes);
    let age = lag.ms.map_or_else(
        || "never known to be complete".to_owned(),
        |ms| format!("complete as of {} ago", units::seconds(Duration::from_millis(ms).as_secs_f64())),
    );
    format!("{}, {bytes}; {age}", units::counted(lag.positions, "position", "positions"))
}

/// Whether others hold the same.
fn show_proofs(page: &mut Page, live: &live::Report) {
    let who = |replica: &str, url: Option<&String>| match url {
        Some(url) => format!("{url} (replica {replica})"),
        None => format!("replica {replica}"),
    };
    match live.proofs.first() {
        Some(proof) => {
            let age = Duration::from_millis(live.now_ms.saturating_sub(proof.time_ms)).as_secs_f64();
            let since = match proof.since {
                0 => String::new(),
                n => format!(", {} ago", units::counted(n, "transaction", "transactions")),
            };
            let others = match live.proofs.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            let who = who(&proof.replica, proof.url.as_ref());
            let within = live.scope.as_ref().map_or_else(String::new, |held| format!(" with scope {}", held.name));
            page.line(format!("in sync{within}, proved at position {}{since}", proof.position));
            page.line(format!("with {who}{others}, {} ago", units::seconds(age)));
        }
        None if live.alarms.is_empty() => page.line("not compared with another replica yet"),
        None => {}
    }
    for alarm in &live.alarms {
        page.gap();
        page.line(format!("DIFFERS from {}", who(&alarm.replica, alarm.url.as_ref())));
        page.line(format!("both have the transactions of position {}", alarm.position));
        page.line(format!("root here {}, there {}; seen {}", alarm.root, alarm.theirs, units::time(alarm.time_ms)));
        for table in &alarm.tables {
            page.line(format!("table {}: {} rows here, {} there", table.table, table.rows, table.theirs));
        }
        page.line("equal transactions are equal rows: one of both is damaged; say `syncline repair --live` to the one that is wrong");
    }
}

fn show(page: &mut Page, report: &Report, all: bool) {
    match (report.commit, report.root) {
        (Some(commit), Some(root)) => {
            page.line(format!("on branch {}, commit {}", report.branch, commit.short()));
            page.line(format!("root {root}"));
        }
        _ => page.line(format!("on branch {}, nothing committed yet", report.branch)),
    }
    if let Some(scope) = &report.scope {
        let tables = scope.tables.iter().flatten().map(|table| format!("--table {table}"));
        let paths = scope.paths.iter().flatten().map(|path| format!("--path {path}"));
        let held: Vec<String> = tables.chain(paths).collect();
        let held = if held.is_empty() { "no contents of files".to_owned() } else { held.join(" ") };
        page.line(format!("partial replica: {held}"));
    }
    if let Some((name, open)) = &report.merging {
        page.line(if *open == 0 {
            format!("merging {name}: no conflict is open; finish it with `syncline commit -m MSG`")
        } else {
            let open = units::counted(*open as u64, "conflict is", "conflicts are");
            format!("merging {name}: {open} open; see `syncline conflicts`")
        });
    }
    let mut tables = Table::new([("table", Align::Left), ("rows", Align::Right)]);
    for (name, rows) in &report.tables {
        tables.row([name.clone(), units::count(*rows)]);
    }
    page.gap();
    page.table(&tables);
    if !report.staged.is_empty() {
        page.gap();
        page.line("staged:");
        output::changes(page, &report.staged);
    }
    files(page, report, all);
    let mut peers =
        Table::new([("peer", Align::Left), ("commit", Align::Left), ("", Align::Left), ("url", Align::Left)]);
    for peer in &report.peers {
        let state = if peer.same { "same" } else { "differs" };
        peers.row([peer.name.clone(), short(peer.commit), state.to_owned(), peer.url.clone()]);
    }
    page.gap();
    page.table(&peers);
    for warning in &report.warnings {
        page.line(format!("note: {warning}"));
    }
    if report.clean {
        page.line("nothing to commit");
    }
}

fn files(page: &mut Page, report: &Report, all: bool) {
    if report.files.is_empty() {
        return;
    }
    page.gap();
    page.line(format!("{}:", units::counted(report.files.len() as u64, "edited file", "edited files")));
    let shown = if all { report.files.len() } else { FILES_SHOWN };
    for file in report.files.iter().take(shown) {
        let word = match file.kind {
            diff::Kind::Insert => "new     ",
            diff::Kind::Update => "changed ",
            diff::Kind::Delete => "deleted ",
        };
        page.line(format!("  {word} {}", file.path));
    }
    if report.files.len() > shown {
        page.line(format!("  and {} more; --all lists them", units::count((report.files.len() - shown) as u64)));
    }
}

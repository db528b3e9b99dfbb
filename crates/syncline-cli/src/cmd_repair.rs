//! `syncline repair`: replace what is damaged by good copies from another replica, and mend by itself what needs none.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use syncline_api::client::Client;
use syncline_base::{Hash, Kind};
use syncline_node::Replica;
use syncline_node::ops::branch::{self, Action};
use syncline_node::ops::live_repair;
use syncline_node::ops::repair::{self, Names, Report};

use crate::cmd_verify;
use crate::context::{self, Context, Place};
use crate::fault::{Outcome, Result};
use crate::peer::{self, Peer};
use crate::units;

/// How many lost objects are listed.
const LOST_SHOWN: usize = 10;
/// At most so many commits before one that was lost are sent along at once.
const ALONG: usize = 1_024;

/// Arguments of `repair`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline repair\n  syncline repair --live\n  syncline repair --live --from http://127.0.0.1:7070/shop\n  syncline repair --from http://127.0.0.1:7070/prices\n  \
                        syncline repair --on http://127.0.0.1:7070/prices --from ./prices\n\n\
                        Damage that no version needs is mended without another copy. Every copy is checked by its hash. The exit code is 7 when something is still damaged.\n\n\
                        With --live it is about rows of live tables: all of them are taken anew from a replica to which this one's node is connected, in \
                        one step; what waits for a hub stays. Rows that cannot be read are taken anew without being asked. When two replicas differ (see \
                        `syncline status`), say it to the one that is wrong, and --live --settle to the one that is right."
)]
pub(crate) struct Args {
    /// Another copy, on a node, in a bucket or here; where it was cloned from when absent, and none when it was not cloned. A
    /// node is sent what it lacks by this command: it opens no address and no path for anybody
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Take all rows of live tables anew
    #[arg(long)]
    live: bool,
    /// Put aside what was found to differ: what is here is right
    #[arg(long, requires = "live", conflicts_with = "from")]
    settle: bool,
    /// Begin live tables anew whose log is damaged, with what waits for a hub as far as it can be read; --from names the upstream if there is none.
    /// No node may have them open
    #[arg(long, requires = "live", conflicts_with = "settle")]
    begin_anew: bool,
    /// This machine or its disk was brought back as it was before (a snapshot): go on under a new name, for others may know more of the old one.
    /// Before its node is started
    #[arg(long, requires = "live", conflicts_with_all = ["settle", "begin_anew", "from"])]
    restored: bool,
    /// Wait so long for rows to come
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::parse_duration, requires = "live")]
    max_wait: Duration,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if args.live {
        return live(context, args);
    }
    let (report, url) = match context.place()? {
        Place::Here(replica) => here(context, &replica, args)?,
        Place::Node(client) => on_node(context, &client, args)?,
    };
    context.out.answer(&report, |page| {
        if let Some(named) = report.named {
            let names = units::counted(named, "branch or tag", "branches and tags");
            let from = url.as_deref().unwrap_or_default();
            page.line(format!("the head was damaged or gone: took {names} from {from}"));
        }
        match &url {
            Some(url) => {
                page.line(format!("replaced {} from {url}", units::counted(report.repaired, "object", "objects")));
            }
            None if !report.left.sound => {
                page.line("nothing was replaced: name another copy with --from, none is remembered");
            }
            None => {}
        }
        if report.rewritten > 0 {
            page.line(format!("rewrote {} without damage", units::counted(report.rewritten, "file", "files")));
        }
        for id in report.lost.iter().take(LOST_SHOWN) {
            let needed = if report.left.sound { ", and no version needs it" } else { "" };
            page.line(format!("not there either{needed}: {id}"));
        }
        if report.lost.len() > LOST_SHOWN {
            page.line(format!("and {} more", report.lost.len() - LOST_SHOWN));
        }
        cmd_verify::show(page, &report.left);
    })?;
    Ok((!report.left.sound).then_some(Kind::Corrupt))
}

/// A snapshot.
fn restored(context: &Context) -> Outcome {
    #[derive(serde::Serialize)]
    struct Restored {
        restored: bool,
    }
    live_repair::restored(&context.replica("repair --live --restored")?)?;
    context.out.answer(&Restored { restored: true }, |page| {
        page.line(
            "this replica goes on under a new name once it is opened; what others know of the old one comes from them",
        );
    })?;
    Ok(None)
}

/// A damaged log.
fn begin_anew(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("repair --live --begin-anew")?;
    let report = live_repair::begin_anew(&replica, args.from.as_deref())?;
    context.out.answer(&report, |page| {
        page.line(format!(
            "begun anew: {}, all else comes from {} once `syncline up` runs",
            units::counted(
                report.kept,
                "transaction that may wait for a hub was kept",
                "transactions that may wait for a hub were kept"
            ),
            report.upstream
        ));
        if report.gaps > 0 {
            let places = units::counted(report.gaps, "place", "places");
            page.line(format!("the old log could not be read at {places}: what waited there is lost, if anything did"));
        }
        page.line(format!("the old log and rows are in {}", report.moved_to.display()));
    })?;
    Ok(None)
}

/// Rows of live tables.
fn live(context: &Context, args: &Args) -> Outcome {
    if args.begin_anew {
        return begin_anew(context, args);
    }
    if args.restored {
        return restored(context);
    }
    let wait_ms = u64::try_from(args.max_wait.as_millis()).unwrap_or(u64::MAX);
    let request = live_repair::Request { from: args.from.clone(), settle: args.settle, wait_ms };
    let report = context.ask_live("live-repair", &request, &mut std::io::empty(), |replica, request, _| {
        // Nobody is connected to a replica that no node runs: there is nothing to wait for.
        live_repair::run(replica, &live_repair::Request { wait_ms: 0, ..request.clone() })
    })?;
    context.out.answer(&report, |page| {
        let line = match &report.renewal {
            None if args.settle => {
                format!("{} put aside: what is here is right", units::counted(report.settled, "alarm", "alarms"))
            }
            None => format!("all rows were taken anew: {} here", units::counted(report.rows, "row is", "rows are")),
            Some(renewal) => {
                let from = renewal.from.as_deref().unwrap_or("the next replica that is connected");
                format!("all rows will be taken anew from {from}; until then none are shown")
            }
        };
        page.line(line);
        if report.renewal.is_some() && report.connected == 0 {
            let to = report.renewal.as_ref().and_then(|renewal| renewal.from.as_deref());
            let to =
                to.map_or_else(|| "--upstream or --peer".to_owned(), |url| format!("--upstream {url} or --peer {url}"));
            page.line(format!("no replica is connected: start this one's node with `syncline up`, with {to}"));
            page.line("if what is here is right after all: syncline repair --live --settle");
        }
    })?;
    Ok(report.renewal.is_some().then_some(Kind::Corrupt))
}

/// The branches and tags of another copy.
fn names_of(context: &Context, peer: &Peer) -> Result<Names> {
    let client = match peer {
        Peer::Here(replica) => return Ok(Names::of(replica)?),
        Peer::Node(client) => client,
    };
    let list = |verb: &str| -> Result<branch::Report> {
        context::call(client, verb, &Action::List, None, &mut std::io::sink(), &*context.progress())
    };
    let (branches, tags) = (list("branch")?.names, list("tag")?.names);
    let head = branches.iter().find(|name| name.current).map_or_else(|| "main".to_owned(), |name| name.name.clone());
    let map = |names: Vec<branch::Name>| names.into_iter().map(|name| (name.name, name.commit)).collect();
    Ok(Names { head, branches: map(branches), tags: map(tags), ..Names::default() })
}

fn here(context: &Context, replica: &Replica, args: &Args) -> Result<(Report, Option<String>)> {
    let headless = repair::lacks_head(replica)?;
    let url = match &args.from {
        None if headless => None,
        None if replica.refs()?.remotes.is_empty() => None,
        from => Some(peer::url_of(replica, from.as_deref(), "repair --from")?),
    };
    // A peer that cannot be reached matters only if something of its is needed.
    let connect = |url: &str| Peer::connect(context, url)?.other_than(replica, url);
    let (peer, unreachable) = match url.as_deref().map(connect).transpose() {
        Ok(peer) => (peer, None),
        Err(fault) if args.from.is_some() && !fault.is(Kind::Unavailable) => return Err(fault),
        Err(fault) => (None, Some(fault)),
    };
    let report = match &peer {
        Some(peer) => {
            let names = headless.then(|| names_of(context, peer)).transpose()?;
            let mut fetch = |ids: &[Hash]| peer::fetch(peer, ids);
            repair::run_with(replica, names.as_ref(), &mut fetch, &*context.progress())?
        }
        None => repair::run(replica, &mut repair::nobody(), &*context.progress())?,
    };
    match unreachable.filter(|_| !report.left.sound) {
        Some(fault) => Err(fault),
        None => Ok((report, url)),
    }
}

/// The node mends what it can by itself and names what it lacks; that is brought from the other copy, by this command: a
/// node opens no address for its callers. A missing node of a tree hides what is missing below it, so this goes level by level.
fn on_node(context: &Context, client: &Client, args: &Args) -> Result<(Report, Option<String>)> {
    let url = args.from.as_deref().map(peer::lasting).transpose()?;
    let progress = context.progress();
    let ask = |names: Option<&Names>, input: Option<&mut dyn Read>| -> Result<Report> {
        context::call(client, "repair", &names, input, &mut std::io::sink(), &*progress)
    };
    let mut report = ask(None, None)?;
    let Some(from) = url.as_deref().filter(|_| !report.left.sound) else { return Ok((report, url)) };
    let peer = Peer::connect(context, from)?;
    if report.left.lacks_head() {
        report = ask(Some(&names_of(context, &peer)?), None)?;
    }
    let (mut asked, mut along) = (BTreeSet::new(), 0);
    loop {
        let ids: Vec<Hash> = report.lost.iter().copied().filter(|id| asked.insert(*id)).collect();
        if ids.is_empty() {
            break;
        }
        let mut fetch = |ids: &[Hash]| peer::fetch(&peer, ids);
        let mut bringing = repair::Bringing::new(ids, &mut fetch).with_ancestors(along);
        // The longer the line that was lost turns out to be, the more of it goes at once.
        along = (along * 4).clamp(4, ALONG);
        let next = ask(None, Some(&mut bringing));
        if let Some(error) = bringing.failed() {
            return Err(error.into());
        }
        let next = next?;
        let (repaired, rewritten) = (report.repaired + next.repaired, report.rewritten + next.rewritten);
        report = Report { named: report.named, repaired, rewritten, ..next };
    }
    Ok((report, url))
}

//! `syncline sync --live`: keep the files of a directory in step with those of other replicas, as they change.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use syncline_api::Target;
use syncline_node::live::files::worker::{self, Settings, Status};
use syncline_node::{Location, Replica};
use syncline_server::live::{Follow, Role, Upstream};
use syncline_server::{Hub, Membership};

use crate::cmd_push::PeerArgs;
use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};
use crate::output::{Output, Page};
use crate::units;

/// So many files are named that are outside of a scope.
const NAMED: usize = 20;

/// What `sync --live` takes beside a peer.
#[derive(Debug, clap::Args)]
pub(crate) struct LiveArgs {
    /// Keep files and live tables in step as they change, until interrupted
    #[arg(long)]
    pub live: bool,
    /// Keep this scope of the upstream in step and hold nothing else; remembered until another one, or --no-scope, is given
    #[arg(long, value_name = "NAME", requires = "live")]
    pub scope: Option<String>,
    /// Keep everything in step again
    #[arg(long, requires = "live", conflicts_with = "scope")]
    pub no_scope: bool,
    /// Where others reach this replica meanwhile; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", requires = "live")]
    pub listen: SocketAddr,
    /// How often the whole directory is looked at, whatever the system tells of changes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "live", value_parser = clap::value_parser!(u64).range(1..))]
    pub rescan: u64,
}

pub(crate) fn run(context: &Context, peer: &PeerArgs, args: &LiveArgs) -> Outcome {
    let replica = context.replica("sync --live")?;
    let upstream = upstream(context, &replica, peer.url.as_deref(), args)?;
    let settings = syncline_server::Settings {
        listen: args.listen,
        token: context.token().map(ToOwned::to_owned),
        limits: context.limits(),
        members: Some(Membership { advertise: None, options: context.options()?, rehome: true }),
        ..syncline_server::Settings::default()
    };
    settings.check()?;
    let place = replica.worktree().map_or_else(|| ".".to_owned(), |dir| dir.display().to_string());
    let name = replica.worktree().and_then(|dir| dir.file_name()).map(|name| name.to_string_lossy().into_owned());
    let name =
        name.filter(|name| syncline_api::target::check_name(name).is_ok()).unwrap_or_else(|| "dataset".to_owned());
    let files = replica.for_work();
    let hub = Arc::new(Hub::of_one(&name, replica)?);
    let out = context.out;
    let wanted = Settings { allow_mass_delete: peer.allow_mass_delete, rescan: Duration::from_secs(args.rescan) };
    if let Some(upstream) = &upstream {
        // Before anything is written: what is written here is taken in there.
        let engine = files.live()?;
        match &upstream.scope {
            Follow::Remembered => {}
            Follow::Everything => engine.follow_scope(None)?,
            Follow::Scope(name) => engine.follow_scope(Some(name))?,
        }
        engine.set_upstream(Some(&upstream.target.to_string()))?;
    }
    let running = syncline_server::start(&settings, Arc::clone(&hub))?;
    let signals = running.signals()?;
    let url = running.url(false);
    hub.listens_at(&url)?;
    let mut report = json!({ "url": format!("{url}/{name}"), "dir": place, "pid": std::process::id() });
    if let Some(upstream) = &upstream {
        report["upstream"] = upstream.target.to_string().into();
    }
    let part = match files.live()?.scopes_here()?.0 {
        Some(scope) => {
            report["scope"] = scope.clone().into();
            format!(", as far as it is in scope {scope:?}")
        }
        None => String::new(),
    };
    out.answer(&report, |page| match &upstream {
        Some(upstream) => {
            page.line(format!("keeping {place} in step with {}{part}; stop with Ctrl-C", upstream.target));
        }
        None => page.line(format!("keeping {place} in step with those who follow {url}/{name}; stop with Ctrl-C")),
    })?;
    // The directory first: what was changed here while nobody looked was written on what it showed then.
    let outside = Mutex::new(None);
    let kept = worker::start(&files, &wanted, move |status| tell(out, status, &outside))?;
    if let Some(upstream) = &upstream {
        running.follow(&hub, Some(&name), upstream, Role::Upstream)?;
    }
    running.run(signals)?;
    drop(kept);
    Ok(None)
}

/// Whom to follow: who was named, or followed before, or cloned from. Nobody when there is none: then others follow this one.
fn upstream(context: &Context, replica: &Replica, named: Option<&str>, args: &LiveArgs) -> Result<Option<Upstream>> {
    let url = match named {
        Some(url) => Some(url.to_owned()),
        None => match replica.live()?.status()?.upstream {
            Some(url) => Some(url),
            None => replica
                .refs()?
                .remotes
                .get(syncline_node::ops::transfer::ORIGIN)
                .map(|origin| origin.url.clone())
                .filter(|url| matches!(Location::parse(url), Ok(Location::Node(_)))),
        },
    };
    let Some(url) = url else {
        if args.scope.is_some() || args.no_scope {
            return Err(Fault::invalid(
                "sync --live with a scope: it is one of an upstream, and none is known here\nname it: `syncline sync --live --scope NAME URL`",
            ));
        }
        return Ok(None);
    };
    let Location::Node(_) = Location::parse(&url)? else {
        return Err(Fault::invalid(format!(
            "sync --live with {url}: changes are told by a node\nserve it with `syncline up -C {url}` and name that node's address"
        )));
    };
    let target = Target::parse(&url)?;
    if target.dataset.is_empty() {
        return Err(Fault::invalid(format!(
            "sync --live with {url}: it names a node and no dataset; write {target}DATASET"
        )));
    }
    let scope = Follow::of(args.scope.as_deref(), args.no_scope);
    Ok(Some(Upstream { target, options: context.options()?, scope }))
}

/// What lies outside of a scope: its name, whether it has not come yet, how many files and the first of them.
type Outside = (Option<String>, bool, u64, Vec<String>);

/// What is told of a scope.
fn tell_outside((scope, waits, count, paths): &Outside, page: &mut Page) {
    let Some(scope) = scope else { return };
    if *waits {
        page.line(format!("scope {scope:?} has not come yet: until it has, nothing of this directory is sent"));
        return;
    }
    if *count == 0 {
        page.line(format!("nothing here is outside of scope {scope:?}"));
        return;
    }
    let lie = if *count == 1 { "is" } else { "are" };
    page.line(format!(
        "{} {lie} outside of scope {scope:?}, not sent, and nowhere but here:",
        units::counted(*count, "file", "files")
    ));
    for path in paths.iter().take(NAMED) {
        page.line(format!("  {path}"));
    }
    if *count > NAMED as u64 {
        page.line(format!("  and {} more; `syncline status` lists them", units::count(*count - NAMED as u64)));
    }
}

/// One line whenever something has changed; what is outside of a scope when that has.
fn tell(out: Output, status: &Status, before: &Mutex<Option<Outside>>) {
    if out.quiet && !out.json {
        return;
    }
    let told = out.answer(status, |page| {
        let mut parts = vec![
            units::counted(status.files, "file", "files"),
            format!("{} sent", units::count(status.sent)),
            format!("{} received", units::count(status.received)),
        ];
        if status.waiting > 0 {
            parts.push(format!("{} on their way", units::count(status.waiting)));
        }
        if status.conflicts > 0 {
            parts.push(format!("{} in conflict", units::count(status.conflicts)));
        }
        page.line(parts.join(", "));
        let outside = (status.scope.clone(), status.scope_waits, status.outside, status.outside_paths.clone());
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = before.is_none() && outside.2 == 0 && !outside.1;
        if !nothing && before.as_ref() != Some(&outside) {
            tell_outside(&outside, page);
            *before = Some(outside);
        }
        if status.held > 0 {
            page.line(format!(
                "{} are gone here, most of all: that is not told to others; bring them back, or start again with --allow-mass-delete",
                units::counted(status.held, "file", "files")
            ));
        }
        if let Some(warning) = &status.warning {
            page.line(warning);
        }
    });
    if told.is_err() {
        tracing::warn!("nobody reads what is told");
    }
}

//! `syncline sync --live`: keep the files of a directory in step with those of other replicas, as they change.

use std::net::SocketAddr;
use std::sync::Arc;
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
use crate::output::Output;
use crate::units;

/// What `sync --live` takes beside a peer.
#[derive(Debug, clap::Args)]
pub(crate) struct LiveArgs {
    /// Keep files and live tables in step as they change, until interrupted
    #[arg(long)]
    pub live: bool,
    /// Where others reach this replica meanwhile; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", requires = "live")]
    pub listen: SocketAddr,
    /// How often the whole directory is looked at, whatever the system tells of changes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "live", value_parser = clap::value_parser!(u64).range(1..))]
    pub rescan: u64,
}

pub(crate) fn run(context: &Context, peer: &PeerArgs, args: &LiveArgs) -> Outcome {
    let replica = context.replica("sync --live")?;
    let upstream = upstream(context, &replica, peer.url.as_deref())?;
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
        files.live()?.set_upstream(Some(&upstream.target.to_string()))?;
    }
    let running = syncline_server::start(&settings, Arc::clone(&hub))?;
    let signals = running.signals()?;
    let url = running.url(false);
    hub.listens_at(&url)?;
    let mut report = json!({ "url": format!("{url}/{name}"), "dir": place, "pid": std::process::id() });
    if let Some(upstream) = &upstream {
        report["upstream"] = upstream.target.to_string().into();
    }
    out.answer(&report, |page| match &upstream {
        Some(upstream) => page.line(format!("keeping {place} in step with {}; stop with Ctrl-C", upstream.target)),
        None => page.line(format!("keeping {place} in step with those who follow {url}/{name}; stop with Ctrl-C")),
    })?;
    // The directory first: what was changed here while nobody looked was written on what it showed then.
    let kept = worker::start(&files, &wanted, move |status| tell(out, status))?;
    if let Some(upstream) = &upstream {
        running.follow(&hub, Some(&name), upstream, Role::Upstream)?;
    }
    running.run(signals)?;
    drop(kept);
    Ok(None)
}

/// Whom to follow: who was named, or followed before, or cloned from. Nobody when there is none: then others follow this one.
fn upstream(context: &Context, replica: &Replica, named: Option<&str>) -> Result<Option<Upstream>> {
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
    let Some(url) = url else { return Ok(None) };
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
    Ok(Some(Upstream { target, options: context.options()?, scope: Follow::Remembered }))
}

/// One line whenever something has changed.
fn tell(out: Output, status: &Status) {
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

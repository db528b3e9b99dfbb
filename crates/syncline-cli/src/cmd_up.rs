//! `syncline up`: run a node that serves datasets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use syncline_api::Target;
use syncline_api::client::Options;
use syncline_node::Location;
use syncline_server::live::{Follow, Role, Upstream};
use syncline_server::{Hub, Membership, Settings, Tls};

use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline up --data /srv/datasets\n  syncline up --data s3://bucket/datasets\n  \
                        syncline up -C edge --listen 127.0.0.1:0 --upstream http://hub:7070/shop\n  \
                        syncline up -C edge --listen 127.0.0.1:0 --upstream http://hub:7070/shop --scope eu\n  \
                        syncline up -C shop --peer https://b.example:7070/shop --listen 0.0.0.0:7070 --advertise https://a.example:7070 …\n  \
                        SYNCLINE_TOKEN=… syncline up --listen 0.0.0.0:7070 --tls-cert node.pem --tls-key node.key\n\n\
                        Without a certificate, a key and a token it listens on this machine only. Hubs tell each other which hubs \
                        there are: one peer is enough to be connected to all, and a spoke goes to another hub while its upstream is \
                        away. It runs until it is interrupted.")]
pub(crate) struct Args {
    /// Where the datasets are: a directory, or a prefix in a bucket (s3://bucket/prefix)
    #[arg(long, value_name = "DIR", default_value = "syncline-data")]
    data: String,
    /// Keep live tables in step with those of this node, and take transactions there: a dataset's address, or a node's for all that it has and
    /// gets later
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Follow this scope of the upstream and hold nothing else; remembered until another one, or --no-scope, is given
    #[arg(long, value_name = "NAME", requires = "upstream")]
    scope: Option<String>,
    /// Follow everything again
    #[arg(long, requires = "upstream", conflicts_with = "scope")]
    no_scope: bool,
    /// Keep live tables in step with those of another hub, which takes transactions in as this one does, and of the hubs that it knows of; may be
    /// given several times
    #[arg(long, value_name = "URL", conflicts_with = "upstream")]
    peer: Vec<String>,
    /// Where other nodes reach this one, when that is not where it listens: http(s)://HOST:PORT
    #[arg(long, value_name = "URL", conflicts_with_all = ["upstream", "no_discover"])]
    advertise: Option<String>,
    /// Connect only to addresses that are given: learn of no other hubs, and tell nobody of this one
    #[arg(long)]
    no_discover: bool,
    /// Wait for the upstream when it is away, and go to no other hub
    #[arg(long, requires = "upstream")]
    no_rehome: bool,
    /// The token that the upstream asks for; else the one of --token
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SYNCLINE_UPSTREAM_TOKEN",
        hide_env_values = true,
        visible_alias = "peer-token"
    )]
    upstream_token: Option<String>,
    /// Address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// PEM file with the node's certificate
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// How many sessions may run at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    sessions: usize,
    /// How many replicas may stay connected to live tables
    #[arg(long, value_name = "N", default_value_t = 8192)]
    replicas: usize,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if let (_, Some(place)) = context.given() {
        return Err(Fault::invalid(format!(
            "up with --on {place}: a node serves what is here\nname a directory of datasets with --data, or one replica with -C"
        )));
    }
    let settings = Settings {
        listen: args.listen,
        tls: tls(args)?,
        token: context.token().map(ToOwned::to_owned),
        limits: context.limits(),
        sessions: args.sessions,
        replicas: args.replicas,
        members: membership(context, args)?,
        ..Settings::default()
    };
    // Before the directory is made.
    settings.check()?;
    let upstreams = args.upstream.iter().map(|url| (url, Role::Upstream));
    let others = upstreams.chain(args.peer.iter().map(|url| (url, Role::Peer)));
    let others = others.map(|(url, role)| Ok((upstream(context, args, url)?, role))).collect::<Result<Vec<_>>>()?;
    let (hub, one, place) = served(context, args)?;
    let secure = settings.tls.is_some();
    let hub = Arc::new(hub);
    let running = syncline_server::start(&settings, Arc::clone(&hub))?;
    // Before the answer: who reads it may ask the node to end at once.
    let signals = running.signals()?;
    let url = running.url(secure);
    hub.listens_at(&url)?;
    let mut followed: Vec<(String, Vec<String>)> = Vec::new();
    for (other, role) in &others {
        let names = running.follow(&hub, one.as_deref(), other, *role)?;
        followed.push((other.target.to_string(), names));
    }
    // Those that were not given a peer this time.
    running.take_up_meshes()?;
    // Told even when quiet: with port 0 nobody else knows where it listens.
    let mut report = json!({ "url": url, "data": place, "pid": std::process::id() });
    if !followed.is_empty() {
        let following = followed.iter().map(|(url, names)| json!({ "url": url, "datasets": names }));
        report["following"] = following.collect();
    }
    context.out.answer(&report, |page| {
        let at = one.as_ref().map_or_else(|| url.clone(), |name| format!("{url}/{name}"));
        page.line(format!("serving {place} at {at}; stop with Ctrl-C"));
        for (url, names) in &followed {
            page.line(format!("following {url}: {}", names.join(", ")));
        }
    })?;
    running.run(signals)?;
    Ok(None)
}

/// What is served: all datasets of a place, or one replica, with its name.
fn served(context: &Context, args: &Args) -> Result<(Hub, Option<String>, String)> {
    let Some(dir) = context.given().0 else {
        return Ok((Hub::open(&Location::parse(&args.data)?, context.env())?, None, args.data.clone()));
    };
    let replica = context.replica("up")?;
    let place = replica.worktree().or(replica.meta()).map(|place| place.to_owned());
    let name = place.as_ref().and_then(|place| place.file_name()).map(|name| name.to_string_lossy().into_owned());
    let name =
        name.filter(|name| syncline_api::target::check_name(name).is_ok()).unwrap_or_else(|| "dataset".to_owned());
    Ok((Hub::of_one(&name, replica)?, Some(name), dir.to_owned()))
}

/// How it takes part in meshes of hubs, if it does.
fn membership(context: &Context, args: &Args) -> Result<Option<Membership>> {
    if args.no_discover {
        return Ok(None);
    }
    let advertise = args.advertise.as_deref().map(Target::parse).transpose()?;
    Ok(Some(Membership { advertise, options: options(context, args)?, rehome: !args.no_rehome }))
}

/// How other nodes are connected to.
fn options(context: &Context, args: &Args) -> Result<Options> {
    let mut options = context.options()?;
    options.token = args.upstream_token.clone().or(options.token);
    Ok(options)
}

fn upstream(context: &Context, args: &Args, url: &str) -> Result<Upstream> {
    let target = Target::parse(url)?;
    let options = options(context, args)?;
    let scope = Follow::of(args.scope.as_deref(), args.no_scope);
    Ok(Upstream { target, options, scope })
}

fn tls(args: &Args) -> Result<Option<Tls>> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    Ok(Some(Tls { certificate: read(certificate)?, key: read(key)? }))
}

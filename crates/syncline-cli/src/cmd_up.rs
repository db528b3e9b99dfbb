//! `syncline up`: run a node that serves datasets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use syncline_node::Location;
use syncline_server::{Hub, Settings, Tls};

use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline up --data /srv/datasets\n  syncline up --data s3://bucket/datasets\n  \
                        SYNCLINE_TOKEN=… syncline up --listen 0.0.0.0:7070 --tls-cert node.pem --tls-key node.key\n\n\
                        Without a certificate, a key and a token it listens on this machine only. It runs until it is \
                        interrupted.")]
pub(crate) struct Args {
    /// Where the datasets are: a directory, or a prefix in a bucket (s3://bucket/prefix)
    #[arg(long, value_name = "DIR", default_value = "syncline-data")]
    data: String,
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
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if let (Some(place), _) | (None, Some(place)) = context.given() {
        return Err(Fault::invalid(format!(
            "up with -C or --on {place}: a node serves all datasets of a directory or a bucket\nname that with --data"
        )));
    }
    let settings = Settings {
        listen: args.listen,
        tls: tls(args)?,
        token: context.token().map(ToOwned::to_owned),
        limits: context.limits(),
        sessions: args.sessions,
        ..Settings::default()
    };
    // Before the directory is made.
    settings.check()?;
    let hub = Hub::open(&Location::parse(&args.data)?, context.env())?;
    let secure = settings.tls.is_some();
    let running = syncline_server::start(&settings, Arc::new(hub))?;
    // Before the answer: who reads it may ask the node to end at once.
    let signals = running.signals()?;
    let url = running.url(secure);
    // Told even when quiet: with port 0 nobody else knows where it listens.
    let report = json!({ "url": url, "data": args.data, "pid": std::process::id() });
    context.out.answer(&report, |page| page.line(format!("serving {} at {url}; stop with Ctrl-C", args.data)))?;
    running.run(signals)?;
    Ok(None)
}

fn tls(args: &Args) -> Result<Option<Tls>> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    Ok(Some(Tls { certificate: read(certificate)?, key: read(key)? }))
}

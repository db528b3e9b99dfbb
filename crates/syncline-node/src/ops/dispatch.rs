//! Verbs by name, with requests and reports as JSON: how a node runs a verb for somebody else.
//!
//! Only verbs that make sense without the caller's directory are here: a node has no working directory of the caller's,
//! and transfers have a protocol of their own.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use syncline_tree::content::ContentRef;

use super::{
    alter, apply, branch, commit, conflicts, diff, export, gc, get, history, import, key, live, live_conflicts,
    live_repair, log, merge, put, reach, repair, rollback, root, scope, show, status, table, verify,
};
use crate::export::Target;
use crate::live::files::contents;
use crate::progress::Progress;
use crate::replica::Replica;
use crate::{Error, Result};

/// The verbs that [`run`] knows.
pub const VERBS: [&str; 38] = [
    "alter",
    "apply",
    "branch",
    "commit",
    "conflicts",
    "contents-give",
    "contents-lacking",
    "contents-put",
    "delete",
    "diff",
    "export",
    "gc",
    "get",
    "history",
    "import",
    "key",
    "live",
    "live-conflicts",
    "live-repair",
    "live-resolve",
    "live-resolve-file",
    "log",
    "merge",
    "objects",
    "objects-lacking",
    "put",
    "reach",
    "repair",
    "resolve",
    "rollback",
    "root",
    "scope",
    "show",
    "status",
    "table",
    "tag",
    "undo",
    "verify",
];

/// Where a verb that is run for somebody else reads and writes.
pub struct Streams {
    /// What the caller sends along, received into a file: the sources of an import, good objects for a repair.
    pub input: Option<PathBuf>,
    /// Where output goes that is not the report: the rows of an export.
    pub output: Target,
}

/// Runs a verb by name and gives its report.
///
/// # Errors
/// `invalid` when the verb is not known or the request does not fit it; else the verb's.
pub fn run(
    replica: &Replica,
    verb: &str,
    request: &str,
    streams: Streams,
    progress: &Arc<dyn Progress>,
) -> Result<String> {
    match verb {
        "alter" => report(alter::run(replica, &read(verb, request)?)?),
        "apply" => report(apply::run(replica, &read(verb, request)?, &mut *input(&streams)?)?),
        "put" => report(put::run(replica, &read(verb, request)?, &mut *input(&streams)?)?),
        "contents-give" => report(contents::give(replica, &mut *input(&streams)?)?),
        "contents-lacking" => report(contents::lacking(replica, &read::<Vec<ContentRef>>(verb, request)?)?),
        "contents-put" => report(contents::put(replica, &mut *input(&streams)?)?),
        "delete" => report(put::delete(replica, &read(verb, request)?, &mut *input(&streams)?)?),
        "get" => report(get::run(replica, &read(verb, request)?)?),
        "reach" => report(reach::run(replica, &read(verb, request)?)?),
        "key" => report(key::run(replica, &read(verb, request)?)?),
        "scope" => report(scope::run(replica, &read(verb, request)?)?),
        "table" => report(table::run(replica, &read(verb, request)?)?),
        "live" => {
            let asked: Option<live::Request> = read(verb, request)?;
            report(live::run(replica, &asked.unwrap_or_default())?)
        }
        "live-conflicts" => report(live_conflicts::run(replica, &read(verb, request)?)?),
        "live-repair" => report(live_repair::run(replica, &read(verb, request)?)?),
        "live-resolve" => report(live_conflicts::resolve(replica, &read(verb, request)?)?),
        "live-resolve-file" => report(live_conflicts::files::resolve(replica, &read(verb, request)?)?),
        "branch" => report(branch::run(replica, branch::Sort::Branch, &read(verb, request)?)?),
        "tag" => report(branch::run(replica, branch::Sort::Tag, &read(verb, request)?)?),
        "commit" => report(commit::run(replica, &read(verb, request)?, &**progress)?),
        "conflicts" => report(conflicts::run(replica, read(verb, request)?)?),
        "resolve" => report(conflicts::resolve(replica, &read(verb, request)?)?),
        "diff" => report(diff::run(replica, &read(verb, request)?)?),
        "export" => report(export::run(replica, &read(verb, request)?, &streams.output, &**progress)?),
        "gc" => report(gc::run(replica, &read(verb, request)?, &**progress)?),
        "history" => report(history::run(replica, &read(verb, request)?)?),
        "import" => {
            let request: import::Request = read(verb, request)?;
            if request.reject.is_some() {
                let why = "a node does not write files for its callers; import into a local replica and push";
                return Err(Error::invalid("import with --reject on a node", why));
            }
            let inputs = import::received(&request.sources, streams.input.as_deref())?;
            report(import::run(replica, &request, inputs, progress)?)
        }
        "log" => report(log::run(replica, &read(verb, request)?)?),
        "merge" => report(merge::run(replica, &read(verb, request)?)?),
        "objects" => report(repair::objects(replica, &read::<Vec<syncline_base::Hash>>(verb, request)?)),
        "objects-lacking" => {
            report(replica.store().lacking(&read::<Vec<syncline_base::Hash>>(verb, request)?).map_err(Error::from)?)
        }
        "repair" => {
            let names: Option<repair::Names> = read(verb, request)?;
            let mut brought = repair::Brought::read(streams.input.as_deref())?;
            report(repair::run_with(replica, names.as_ref(), &mut |ids| brought.fetch(ids), &**progress)?)
        }
        "rollback" => report(rollback::run(replica, &read(verb, request)?)?),
        "root" => report(root::run(replica, &read(verb, request)?)?),
        "show" => report(show::run(replica, &read(verb, request)?)?),
        "status" => report(status::run(replica, &read(verb, request)?, &**progress)?),
        "undo" => {
            let () = read(verb, request)?;
            report(branch::undo(replica)?)
        }
        "verify" => report(verify::run(replica, &read(verb, request)?, &**progress)?),
        _ => Err(Error::invalid(format!("verb {verb:?}"), format!("a node runs {VERBS:?}"))),
    }
}

/// What came along, if anything did.
fn input(streams: &Streams) -> Result<Box<dyn std::io::Read + Send>> {
    match &streams.input {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(Error::io("reading", path))?;
            Ok(Box::new(std::io::BufReader::with_capacity(256 << 10, file)))
        }
        None => Ok(Box::new(std::io::empty())),
    }
}

fn read<T: DeserializeOwned>(verb: &str, request: &str) -> Result<T> {
    serde_json::from_str(request).map_err(|e| Error::invalid(format!("the request for {verb:?}"), e.to_string()))
}

/// As text, which keeps every cell of a row as it is.
fn report<T: Serialize>(report: T) -> Result<String> {
    serde_json::to_string(&report).map_err(|e| Error::invalid("writing the report", e.to_string()))
}

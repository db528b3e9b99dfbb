//! `syncline commit`: make what is staged, and the files as they are, a version.

use std::collections::BTreeMap;

use syncline_node::ops::commit::{self, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{self, Page, short};
use crate::units;

/// Arguments of `commit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  syncline commit -m 'corrected prices' --meta pipeline=nightly-42")]
pub(crate) struct Args {
    /// Why
    #[arg(long, short = 'm', value_name = "MSG")]
    message: String,
    /// A fact that travels with the version; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    meta: Vec<(String, String)>,
    /// Make a version even if it holds the same as the one before
    #[arg(long)]
    allow_empty: bool,
    /// Read every file again instead of trusting sizes and times
    #[arg(long)]
    checksum: bool,
    /// Allow it to delete more than half of a table or of the files
    #[arg(long)]
    allow_mass_delete: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        message: args.message.clone(),
        // Told here, because a node does not know who is calling.
        author: Some(context.env().author),
        meta: args.meta.iter().cloned().collect::<BTreeMap<_, _>>(),
        allow_mass_delete: args.allow_mass_delete,
        allow_empty: args.allow_empty,
        checksum: args.checksum,
    };
    let report =
        context.ask_served("commit", &request, |replica, progress| commit::run(replica, &request, &**progress))?;
    context.out.done(&report, |page| show(page, &report))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    if report.committed {
        page.line(format!(
            "commit {} on {} in {}",
            short(report.commit),
            report.branch,
            units::seconds(report.seconds)
        ));
        page.line(format!("root   {}", report.root));
        output::changes(page, &report.changes);
    } else {
        page.line("nothing to commit");
    }
    for warning in &report.warnings {
        page.line(format!("note: {warning}"));
    }
}

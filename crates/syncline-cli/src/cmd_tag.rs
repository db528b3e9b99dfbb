//! `syncline tag`: list, make or remove tags.

use syncline_node::ops::branch::Sort;

use crate::cmd_branch::{NameArgs, names};
use crate::context::Context;
use crate::fault::Outcome;

/// Arguments of `tag`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline tag\n  syncline tag v1\n  syncline tag v0 main~3\n  syncline tag --delete v0"
)]
pub(crate) struct Args {
    #[command(flatten)]
    name: NameArgs,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    names(context, Sort::Tag, &args.name)
}

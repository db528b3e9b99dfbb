//! The command line: global options and the list of verbs.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Styles;
use clap::{Args, Parser, Subcommand};
use syncline_node::ops::live;
use syncline_tree::TreeName;

use crate::context::Context;
use crate::fault::Outcome;
use crate::{
    cmd_alter, cmd_apply, cmd_bench, cmd_branch, cmd_checkout, cmd_clone, cmd_commit, cmd_completion, cmd_conflicts,
    cmd_delete, cmd_diff, cmd_export, cmd_fetch, cmd_gc, cmd_get, cmd_history, cmd_import, cmd_init, cmd_key, cmd_log,
    cmd_merge, cmd_pull, cmd_push, cmd_put, cmd_repair, cmd_resolve, cmd_rollback, cmd_root, cmd_scope, cmd_show,
    cmd_status, cmd_sync, cmd_table, cmd_tag, cmd_undo, cmd_up, cmd_verify, cmd_watch, units,
};

/// Keeps datasets of tables and files identical, and proves it by one hash.
#[derive(Debug, Parser)]
#[command(
    name = "syncline",
    version,
    styles = Styles::plain(),
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with: syncline init prices && cd prices && syncline import prices.csv --table prices --key sku -m first\n\n\
                  Exit codes: 0 done, 1 a fault of this program, 2 invalid request, 3 not found, 4 conflict, 5 denied, \
                  6 unavailable, 7 corrupt, \
                  8 stale"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What a reader of live tables asks of what it reads.
#[derive(Debug, Args)]
pub(crate) struct Bounds {
    /// Wait until everything in this position is here: a position as `put`, `get` or `watch` print it
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// Wait until everything is here that the upstream had acknowledged so long before this command: 500ms, 2s; 0s is all that it has now
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    max_staleness: Option<Duration>,
    /// How long to wait for these, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    max_wait: u64,
}

impl Bounds {
    pub(crate) fn to_request(&self) -> live::Bounds {
        let staleness = self.max_staleness.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        live::Bounds { after: self.after.clone(), max_staleness_ms: staleness, wait_ms: Some(self.max_wait) }
    }
}

/// Options of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The replica: its directory or any directory inside; also s3://bucket/prefix
    #[arg(id = "replica", short = 'C', long = "dir", value_name = "DIR", global = true, conflicts_with = "on")]
    pub dir: Option<String>,
    /// Work on a dataset where it is: http(s)://HOST:PORT/DATASET, s3://bucket/prefix or a path
    #[arg(long, value_name = "URL", global = true)]
    pub on: Option<String>,
    /// Print one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no word about what was done
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// The token that the node asks for
    #[arg(long, value_name = "TOKEN", env = "SYNCLINE_TOKEN", hide_env_values = true, global = true)]
    pub token: Option<String>,
    /// PEM file of the authority that signed the node's certificate
    #[arg(long, value_name = "FILE", env = "SYNCLINE_CA", global = true)]
    pub ca: Option<PathBuf>,
    /// The name in the node's certificate, when it is not the host's
    #[arg(long, value_name = "NAME", global = true)]
    pub server_name: Option<String>,
    /// At most so many bytes per second each way, for example 5MB
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, global = true)]
    pub limit_rate: Option<u64>,
    /// Who makes commits; else the user at this machine, as USER and HOSTNAME say
    #[arg(long, value_name = "NAME", env = "SYNCLINE_AUTHOR", global = true)]
    pub author: Option<String>,
}

/// Chooses one tree of a dataset.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TreeArgs {
    /// Only this table
    #[arg(long, short = 't', value_name = "TABLE", conflicts_with = "files")]
    pub table: Option<String>,
    /// Only the files
    #[arg(long)]
    pub files: bool,
}

impl TreeArgs {
    /// The tree, when one was chosen.
    pub(crate) fn tree(&self) -> Option<TreeName> {
        if self.files { Some(TreeName::Files) } else { self.table.clone().map(TreeName::Table) }
    }
}

/// How a verb makes a version out of others.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VersionArgs {
    /// Why; made up when absent
    #[arg(long, short = 'm', value_name = "MSG")]
    pub message: Option<String>,
    /// Allow it to delete more than half of a table or of the files
    #[arg(long)]
    pub allow_mass_delete: bool,
}

/// Declares the verbs once: their subcommand, their name in messages, and what runs them.
macro_rules! verbs {
    ($($(#[doc = $doc:literal])+ $verb:ident $name:literal => $module:ident,)+) => {
        /// What the command can do.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Verb {
            $($(#[doc = $doc])+ #[command(name = $name)] $verb($module::Args),)+
        }

        impl Verb {
            /// As it is typed.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$verb(_) => $name,)+
                }
            }

            /// Runs it.
            pub(crate) fn run(&self, context: &Context) -> Outcome {
                match self {
                    $(Self::$verb(args) => $module::run(context, args),)+
                }
            }
        }
    };
}

verbs! {
    /// Make a new, empty dataset in a directory or on a node
    Init "init" => cmd_init,
    /// Bring rows from CSV, TSV, NDJSON, Parquet or Arrow files into a table
    Import "import" => cmd_import,
    /// Change the columns of a table
    Alter "alter" => cmd_alter,
    /// Make what is staged, and the files as they are, a version
    Commit "commit" => cmd_commit,
    /// Show what is staged, which files were edited and what waits
    Status "status" => cmd_status,
    /// List the commits that led to a version
    Log "log" => cmd_log,
    /// Show a version: what it holds and what it changed
    Show "show" => cmd_show,
    /// Show what differs between two versions
    Diff "diff" => cmd_diff,
    /// Print the hash that says whether two copies are the same
    Root "root" => cmd_root,
    /// Write a table, at any version, to a file
    Export "export" => cmd_export,
    /// Continue on a branch, or stage what an older version held
    Checkout "checkout" => cmd_checkout,
    /// List, make or remove branches
    Branch "branch" => cmd_branch,
    /// List, make or remove tags
    Tag "tag" => cmd_tag,
    /// Bring another version's changes into the current branch
    Merge "merge" => cmd_merge,
    /// List what a merge could not decide, and rows of live tables in conflict; decide these
    Conflicts "conflicts" => cmd_conflicts,
    /// Decide conflicts by taking one side
    Resolve "resolve" => cmd_resolve,
    /// Go back to an older version with a new commit
    Rollback "rollback" => cmd_rollback,
    /// Take back the last move of the current branch
    Undo "undo" => cmd_undo,
    /// Show what happened to one row
    History "history" => cmd_history,
    /// Make, change or show live tables
    Table "table" => cmd_table,
    /// Make, show or remove scopes: parts of a dataset that a spoke can hold
    Scope "scope" => cmd_scope,
    /// Write rows to a live table, as one transaction
    Put "put" => cmd_put,
    /// Delete rows of a live table, as one transaction
    Delete "delete" => cmd_delete,
    /// Show rows of a live table as they are now
    Get "get" => cmd_get,
    /// Follow what is written to live tables
    Watch "watch" => cmd_watch,
    /// Write changes to live tables, as `watch` gives them
    Apply "apply" => cmd_apply,
    /// List the keys of replicas and what they signed; revoke one
    Key "key" => cmd_key,
    /// Run a node that serves datasets
    Up "up" => cmd_up,
    /// Measure a deployment
    Bench "bench" => cmd_bench,
    /// Copy a dataset
    Clone "clone" => cmd_clone,
    /// Have more files in a partial replica
    Fetch "fetch" => cmd_fetch,
    /// Send commits to another replica
    Push "push" => cmd_push,
    /// Fetch another replica's commits and merge them
    Pull "pull" => cmd_pull,
    /// Bring both sides to the same version
    Sync "sync" => cmd_sync,
    /// Check that what is stored is what it claims to be
    Verify "verify" => cmd_verify,
    /// Replace what is damaged by good copies from another replica
    Repair "repair" => cmd_repair,
    /// Remove what no kept version needs
    Gc "gc" => cmd_gc,
    /// Print a completion script for a shell
    Completion "completion" => cmd_completion,
}

#[cfg(test)]
mod tests;

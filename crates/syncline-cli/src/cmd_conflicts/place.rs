//! What is in conflict, as a command line names it: a row or a file; and what it becomes.

use syncline_node::ops::live_conflicts::{Decision, Request, files};

use crate::context::Live;
use crate::fault::{Fault, Result};
use crate::local_file;

/// Names a row, or a file.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("place").required(true).args(["table", "file"]))]
pub(super) struct PlaceArgs {
    /// The row's table
    #[arg(long, short = 't', requires = "key")]
    table: Option<String>,
    /// The row's key: its text, with commas between columns, or an object
    #[arg(long, short = 'k', value_name = "KEY", allow_hyphen_values = true, requires = "table")]
    key: Option<String>,
    /// The file, by its path in the dataset
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
}

/// A row or a file.
pub(super) enum Place<'a> {
    Row(&'a str, &'a str),
    File(&'a str),
}

impl PlaceArgs {
    pub(super) fn place(&self) -> Result<Place<'_>> {
        match (&self.table, &self.key, &self.file) {
            (Some(table), Some(key), None) => Ok(Place::Row(table, key)),
            (None, None, Some(file)) => Ok(Place::File(file)),
            _ => Err(Fault::invalid("conflicts: name a row with --table and --key, or a file with --file")),
        }
    }

    /// Asks for it.
    pub(super) fn show(&self) -> Result<Request> {
        Ok(match self.place()? {
            Place::Row(table, key) => Request::Show { table: table.to_owned(), key: key.to_owned() },
            Place::File(file) => Request::ShowFile { file: file.to_owned() },
        })
    }
}

/// What a row or a file becomes.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("decision").required(true))]
pub(super) struct DecisionArgs {
    /// Take what this transaction wrote; its first digits do where nothing else has them. Of a file also: what is shown at this path
    #[arg(long, value_name = "TRANSACTION", group = "decision")]
    take: Option<String>,
    /// Write this object; a column that it leaves out keeps the cell that readers see
    #[arg(long = "row", value_name = "JSON", group = "decision", conflicts_with = "file")]
    object: Option<String>,
    /// Write what this file of this machine holds, or standard input (`-`), to the file in conflict
    #[arg(long, value_name = "LOCALFILE", group = "decision", conflicts_with = "table")]
    with: Option<String>,
    /// Delete the row or the file
    #[arg(long, group = "decision")]
    delete: bool,
}

impl DecisionArgs {
    /// Of a row.
    pub(super) fn of_row(&self) -> Decision {
        match (&self.take, &self.object) {
            (Some(transaction), _) => Decision::Take(transaction.clone()),
            (None, Some(row)) => Decision::Row(row.clone()),
            (None, None) => Decision::Delete,
        }
    }

    /// Of a file, whose content is sent before.
    pub(super) fn of_file(&self, live: &mut Live<'_>, path: &str) -> Result<files::Decision> {
        Ok(match (&self.take, &self.with) {
            (Some(named), _) => files::Decision::Take(named.clone()),
            (None, Some(local)) => {
                let given = local_file::given(path, local, &mut |input| live.send(input))?;
                files::Decision::With(Box::new(given))
            }
            (None, None) => files::Decision::Delete,
        })
    }
}

//! Changes of files among lines: a file of this machine that one names is sent before its transaction, and named by its content instead.
//!
//! Owns nothing. Not here: what a change may say (`syncline_node::live::files::Given`).

use serde::{Deserialize, Serialize};
use syncline_node::live::files::Given;

use super::sink::Sink;
use crate::fault::{Fault, Result};
use crate::local_file;

/// Sends what a change of a file names of this machine. The line that says so in its place; `None` when it names nothing.
pub(super) fn sent(line: &[u8], sink: &mut Sink) -> Result<Option<Vec<u8>>> {
    #[derive(Serialize, Deserialize)]
    struct Change {
        op: String,
        #[serde(flatten)]
        given: Given,
    }
    // What cannot be read is told by who reads the others, with the number of its line.
    let Ok(Change { op, given }) = serde_json::from_slice::<Change>(line) else { return Ok(None) };
    let Some(from) = given.from.clone().filter(|_| op == "set") else { return Ok(None) };
    if given.text.is_some() || given.base64.is_some() || given.content.is_some() || given.link.is_some() || given.folder
    {
        let why = "`from` says what it holds, and another member does as well; nothing of its transaction was written";
        return Err(Fault::invalid(format!("writing the file {:?}: {why}", given.file)));
    }
    if from == local_file::STDIN {
        let why = "standard input is the changes; nothing of its transaction was written";
        return Err(Fault::invalid(format!("writing the file {:?} from `-`: {why}", given.file)));
    }
    let read = local_file::given(&given.file, &from, &mut |input| sink.send(input))?;
    let given = Given { executable: given.executable.or(read.executable), ..read };
    let mut line = serde_json::to_vec(&Change { op, given })?;
    line.push(b'\n');
    Ok(Some(line))
}

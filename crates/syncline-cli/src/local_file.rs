//! Files of this machine that commands write to a dataset: what they hold is sent there first, in pieces.
//!
//! Owns nothing. Memory does not grow with a file. What was sent and is named by no transaction a collection takes.

use std::fs::{File, Metadata};
use std::io::Read;

use syncline_base::Kind;
use syncline_node::live::files::Given;
use syncline_node::live::files::contents::Put;

use crate::fault::{Fault, Result};

/// Stands for standard input.
pub(crate) const STDIN: &str = "-";

/// What takes a content.
pub(crate) type Send<'a> = &'a mut dyn FnMut(&mut (dyn Read + std::marker::Send)) -> Result<Put>;

/// What a path of the dataset is to hold: what the file `local` does, or standard input.
pub(crate) fn given(path: &str, local: &str, send: Send<'_>) -> Result<Given> {
    if local == STDIN {
        return content(path, &mut std::io::stdin(), send);
    }
    let failed = |error: std::io::Error| {
        Fault::new(Kind::of_io(&error), format!("reading {local} for the file {path}: {error}\nnothing was written"))
    };
    let mut file = File::open(local).map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    if before.is_dir() {
        return Err(Fault::invalid(format!(
            "reading {local} for the file {path}: it is a folder; name its files one by one"
        )));
    }
    let given = content(path, &mut file, send)?;
    let after = file.metadata().map_err(failed)?;
    let stamp = |stat: &Metadata| (stat.len(), stat.modified().ok());
    if before.is_file() && stamp(&before) != stamp(&after) {
        let why =
            format!("reading {local} for the file {path}: it changed meanwhile; nothing was written: run it again");
        return Err(Fault::new(Kind::Unavailable, why));
    }
    Ok(Given { executable: Some(is_executable(&before)), ..given })
}

fn content(path: &str, input: &mut (dyn Read + std::marker::Send), send: Send<'_>) -> Result<Given> {
    let Put { content, base64 } = send(input)?;
    Ok(Given { file: path.to_owned(), content, base64, ..Given::default() })
}

#[cfg(unix)]
fn is_executable(stat: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    stat.is_file() && stat.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}

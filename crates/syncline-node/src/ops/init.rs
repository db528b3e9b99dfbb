//! `init`: make a new, empty replica.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::replica::{Env, Replica};

/// What `init` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Where. Created when it is not there.
    pub dir: PathBuf,
    /// Whether to make a replica without a working directory.
    #[serde(default)]
    pub bare: bool,
}

/// What `init` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Where the replica is.
    pub dir: PathBuf,
    /// Whether it is bare.
    pub bare: bool,
    /// The branch that the first commit will make.
    pub branch: String,
}

/// Makes a new, empty replica.
///
/// # Errors
/// `conflict` when there is one already; the file system's.
pub fn run(request: &Request, env: Env) -> Result<Report> {
    let replica = Replica::init(&request.dir, request.bare, env)?;
    Ok(Report { dir: request.dir.clone(), bare: request.bare, branch: replica.refs()?.head })
}

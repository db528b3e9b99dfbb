//! Beginning a replica's live part anew when its log is damaged: what waits for a hub is kept, and all else comes from its upstream.
//!
//! The damaged log and the rows are moved to `live/damaged-TIME/`: they are the evidence, and nobody reads them again.
//!
//! After a crash: the old log is in its place, or the new one, which is whole before it takes it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syncline_base::Clock;
use syncline_base::rng::Rng;
use syncline_sync::live::{Config, Limits, Node, Output, Salvage, Zoo};
use syncline_sync::log::{self, Log};

use super::engine::new_log_id;
use super::home::Home;
use crate::segments::Directory;
use crate::{Error, Result};

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// How many transactions that may wait for a hub were kept.
    pub kept: u64,
    /// How many records of the old log could be read.
    pub records: u64,
    /// At how many places something could not: transactions that waited may have been there.
    pub gaps: u64,
    /// Where the old log and rows are now.
    pub moved_to: PathBuf,
    /// From where all else comes.
    pub upstream: String,
}

/// Begins anew. Nobody else has it open.
///
/// # Errors
/// `invalid` for a hub, of which others need not have all; the file system's.
pub fn begin(home: &Home, clock: &dyn Clock) -> Result<Report> {
    let Some(upstream) = home.upstream()? else {
        let why = "it takes its transactions to nobody, so nobody needs to have all that it had: bring its directory back from a backup, or name with \
                   --from a replica that has the dataset";
        return Err(Error::invalid("beginning live tables anew", why));
    };
    let path = home.log();
    let disk = Directory::create(&path).map_err(Error::io("reading", &path))?;
    let mut waiting = Salvage::default();
    let found = log::salvage(&disk, |record| waiting.show(record))?;
    let gaps = found.gaps + waiting.unknown;
    let new = home.next_log();
    let kept = write(home, &new, waiting)?;
    let moved_to = home.put_aside(clock.now_ms())?;
    Ok(Report { kept, records: found.records, gaps, moved_to, upstream })
}

/// Writes a log that says what waits, and nothing else.
fn write(home: &Home, path: &Path, waiting: Salvage) -> Result<u64> {
    if path.exists() {
        std::fs::remove_dir_all(path).map_err(Error::io("removing", path))?;
    }
    let disk = Directory::create(path).map_err(Error::io("creating", path))?;
    let mut log = Log::create(disk, new_log_id(), 0, log::Options::DEFAULT)?;
    let config = Config {
        signer: home.signer(),
        rng: Rng::from_os(),
        limits: Limits::default(),
        runs: None,
        damaged: false,
        zoo: Zoo::default(),
    };
    let mut kept = 0;
    let mut node = Node::create_with(config, waiting.waiting().inspect(|_| kept += 1));
    for output in node.outputs() {
        if let Output::Append(record) = output {
            log.append(&record.encode())?;
        }
    }
    log.close()?;
    Ok(kept)
}

//! The datasets of a node: bare replicas in the directories of one data directory.
//!
//! State: which replicas are open; each is opened once and shared by all sessions. After a crash: the replicas recover
//! themselves when they are opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use syncline_api::target::check_name;
use syncline_node::{Env, Location, Replica};

use crate::error::{Error, Result};

/// The datasets of a node.
#[derive(Debug)]
pub struct Hub {
    dir: PathBuf,
    env: Env,
    open: Mutex<BTreeMap<String, Arc<Replica>>>,
}

impl Hub {
    /// The datasets under `dir`, which is made when it is not there.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(dir: &Path, env: Env) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|source| data("creating", dir, source))?;
        Ok(Self { dir: dir.to_owned(), env, open: Mutex::default() })
    }

    /// The names of all datasets, sorted.
    ///
    /// # Errors
    /// The file system's.
    pub fn datasets(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.dir.read_dir().map_err(|source| data("listing", &self.dir, source))? {
            let entry = entry.map_err(|source| data("listing", &self.dir, source))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if check_name(&name).is_ok() && is_replica(&entry.path()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Makes an empty dataset.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `Invalid` when it is no name.
    pub fn create(&self, name: &str) -> Result<Arc<Replica>> {
        check_name(name).map_err(Error::Name)?;
        let mut open = self.open.lock().expect("no code panics while it holds the table of replicas");
        let dir = self.dir.join(name);
        if open.contains_key(name) || is_replica(&dir) {
            return Err(Error::Taken(name.to_owned()));
        }
        let replica = Arc::new(Replica::init(&dir, true, self.env.clone())?);
        open.insert(name.to_owned(), Arc::clone(&replica));
        Ok(replica)
    }

    /// A dataset by name.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Invalid` when it is no name.
    pub fn dataset(&self, name: &str) -> Result<Arc<Replica>> {
        check_name(name).map_err(Error::Name)?;
        let mut open = self.open.lock().expect("no code panics while it holds the table of replicas");
        if let Some(replica) = open.get(name) {
            return Ok(Arc::clone(replica));
        }
        let dir = self.dir.join(name);
        if !is_replica(&dir) {
            drop(open);
            return Err(self.no_dataset(name));
        }
        let replica = Arc::new(Replica::open(&Location::Path(dir), self.env.clone())?);
        open.insert(name.to_owned(), Arc::clone(&replica));
        Ok(replica)
    }

    fn no_dataset(&self, name: &str) -> Error {
        let hint = match self.datasets() {
            Ok(names) if !names.is_empty() => {
                format!("it has {}", names.iter().take(10).cloned().collect::<Vec<_>>().join(", "))
            }
            _ => "it has none; make one with `syncline init`".to_owned(),
        };
        Error::NoDataset { name: name.to_owned(), hint }
    }

    /// A path for a file that lives as long as one request.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join(format!(".scratch-{}", syncline_base::rng::Rng::from_os().unique_name()))
    }
}

/// Whether a directory holds a bare replica or a working directory.
fn is_replica(dir: &Path) -> bool {
    dir.join("replica.json").is_file() || dir.join(syncline_node::replica::META_DIR).join("replica.json").is_file()
}

fn data(what: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Data { what, path: path.display().to_string(), source }
}

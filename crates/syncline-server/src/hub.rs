//! The datasets of a node: bare replicas in the directories of one data directory, or below one prefix of a bucket.
//!
//! State: which replicas are open; each is opened once, and every session or verb works on it with a handle of its own. After a crash: the replicas recover
//! themselves when they are opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use syncline_api::target::check_name;
use syncline_node::live::Engine;
use syncline_node::{Env, Location, Replica, make_directory};

use crate::error::{Error, Result};
use crate::scratch::ScratchDir;

/// The datasets of a node.
#[derive(Debug)]
pub struct Hub {
    data: Location,
    /// For files that live as long as one request.
    scratch: ScratchDir,
    env: Env,
    open: Mutex<BTreeMap<String, Replica>>,
    /// It has the datasets that were given to it, and no others.
    closed: bool,
    /// Where it listens, once it does.
    url: OnceLock<String>,
}

impl Hub {
    /// The datasets under `data`: a directory, which is made when it is not there, or a prefix in a bucket.
    ///
    /// # Errors
    /// `Invalid` when it is neither; the file system's or the bucket's.
    pub fn open(data: &Location, env: Env) -> Result<Self> {
        let scratch = match data {
            Location::Path(dir) => {
                make_directory(dir).map_err(|source| failed("creating", dir, source))?;
                // A directory that can only be read can be served, too.
                ScratchDir::beside(dir).or_else(|_| ScratchDir::of_the_system())
            }
            Location::Bucket(_) => ScratchDir::of_the_system(),
            Location::Node(url) => {
                let why = format!("{url} is a node: a node keeps its datasets in a directory or a bucket");
                return Err(Error::Settings(why));
            }
        };
        let scratch = scratch.map_err(|source| failed("creating a directory in", &std::env::temp_dir(), source))?;
        // A bucket that cannot be reached is told now, not to the first client.
        data.datasets(&env)?;
        let open = Mutex::default();
        Ok(Self { data: data.clone(), scratch, env, open, closed: false, url: OnceLock::new() })
    }

    /// One replica, wherever it is, as the dataset `name` and the only one.
    ///
    /// # Errors
    /// `Invalid` when the name is none; the file system's.
    pub fn of_one(name: &str, replica: Replica) -> Result<Self> {
        check_name(name).map_err(Error::Name)?;
        let temporary = std::env::temp_dir();
        let scratch =
            ScratchDir::of_the_system().map_err(|source| failed("creating a directory in", &temporary, source))?;
        let env = replica.env().clone();
        let open = Mutex::new(BTreeMap::from([(name.to_owned(), replica)]));
        Ok(Self { data: Location::Path(temporary), scratch, env, open, closed: true, url: OnceLock::new() })
    }

    /// Remembers where it listens, and opens the live tables that its datasets have: processes on this machine that want them are told
    /// to come here.
    ///
    /// # Errors
    /// The file system's. Of one replica, when its live tables cannot be opened.
    pub fn listens_at(&self, url: &str) -> Result<()> {
        // Nobody listens twice.
        let _ = self.url.set(url.to_owned());
        for name in self.datasets()? {
            let opened = self.dataset(&name).and_then(|replica| match replica.has_live() {
                true => self.live(&name).map(|_| ()),
                false => Ok(()),
            });
            match opened {
                // One that cannot be opened is told to whoever asks for it; the others are served.
                Err(error) if !self.closed => tracing::error!(dataset = name, %error, "live tables cannot be opened"),
                opened => opened?,
            }
        }
        Ok(())
    }

    /// The live tables of a dataset.
    ///
    /// # Errors
    /// As [`Self::dataset`]; `Unavailable` when another process has them; `Invalid` when it lies in a bucket.
    pub fn live(&self, name: &str) -> Result<Engine> {
        let engine = self.dataset(name)?.live()?;
        if let Some(url) = self.url.get() {
            engine.tell(Some(&format!("{url}/{name}")))?;
        }
        Ok(engine)
    }

    /// The names of all datasets, sorted.
    ///
    /// # Errors
    /// The file system's or the bucket's.
    pub fn datasets(&self) -> Result<Vec<String>> {
        if self.closed {
            let open = self.open.lock().expect("no code panics while it holds the table of replicas");
            return Ok(open.keys().cloned().collect());
        }
        let mut names = self.data.datasets(&self.env)?;
        names.retain(|name| check_name(name).is_ok());
        Ok(names)
    }

    /// Makes an empty dataset.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `Invalid` when it is no name.
    pub fn create(&self, name: &str) -> Result<Arc<Replica>> {
        check_name(name).map_err(Error::Name)?;
        if self.closed {
            return Err(Error::Settings(format!(
                "making {name:?}: this node serves one replica; serve a directory with --data"
            )));
        }
        let mut open = self.open.lock().expect("no code panics while it holds the table of replicas");
        let place = self.data.below(name);
        if open.contains_key(name) || place.is_dataset(&self.env)? {
            return Err(Error::Taken(name.to_owned()));
        }
        let replica = Replica::create(&place, self.env.clone())?;
        Ok(Self::keep(&mut open, name, replica))
    }

    /// A dataset by name, for one session or verb.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Invalid` when it is no name.
    pub fn dataset(&self, name: &str) -> Result<Arc<Replica>> {
        check_name(name).map_err(Error::Name)?;
        let mut open = self.open.lock().expect("no code panics while it holds the table of replicas");
        if let Some(replica) = open.get(name) {
            return Ok(Arc::new(replica.for_work()));
        }
        let place = self.data.below(name);
        if self.closed || !place.is_dataset(&self.env)? {
            drop(open);
            return Err(self.no_dataset(name));
        }
        let replica = Replica::open(&place, self.env.clone())?;
        Ok(Self::keep(&mut open, name, replica))
    }

    fn keep(open: &mut BTreeMap<String, Replica>, name: &str, replica: Replica) -> Arc<Replica> {
        let work = Arc::new(replica.for_work());
        open.insert(name.to_owned(), replica);
        work
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
        self.scratch.path()
    }
}

fn failed(what: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Data { what, path: path.display().to_string(), source }
}

//! A replica: one dataset in one place, opened.
//!
//! A replica is a working directory (`DIR/.syncline/` holds the store, `DIR` the files), a bare directory (the store
//! and nothing else) or a prefix in a bucket (bare too).
//!
//! State: the store and its head document; beside them in the meta directory a marker `replica.json`, the status
//! cache and `tmp/`. After a crash: the store recovers itself; the cache is only a hint; `tmp/` is emptied by the
//! next import. Many processes may open the same replica.
//!
//! Not here: what is done to a replica (`crate::ops`).

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncline_base::{Clock, Hash, Hlc, HlcClock, Kind, SystemClock};
use syncline_store::{Backend, Stop, Store, backend, backend::directory::make_directory};
use syncline_sync::Transport;
use syncline_tree::{Commit, DatasetRoot, Refs, Table, TableRef, TreeName};

use crate::contents::Brought;
use crate::error::{Error, Result};
use crate::live::Engine;
use crate::live::home::{self, Home, Taken};
use crate::location::{self, Location};
use crate::loopback;
use crate::part::Part;

/// The directory inside a working directory that holds the store.
pub const META_DIR: &str = ".syncline";
pub(crate) const MARKER: &str = "replica.json";
const MARKER_TEXT: &str = "{\"syncline\":\"replica/1\"}\n";

/// How long another process that has the live part is waited for, and how often is looked.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Reaches other replicas.
pub trait Connect: Send + Sync + std::fmt::Debug {
    /// Begins a session with the replica at `url`.
    ///
    /// # Errors
    /// `unavailable` when it cannot be reached, `invalid` when the URL is of a kind that is not known here.
    fn connect(&self, url: &str) -> Result<Box<dyn Transport>>;
}

/// Reaches replicas that this process can open itself: in directories and buckets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here;

impl Connect for Here {
    fn connect(&self, url: &str) -> Result<Box<dyn Transport>> {
        loopback::connect(Replica::open(&Location::parse(url)?, Env::default())?)
    }
}

/// What a replica is given from outside: time, who is at the keyboard, and the way to others.
#[derive(Debug, Clone)]
pub struct Env {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Whose name goes into commits.
    pub author: String,
    /// How to reach the replica that a partial one was cloned from.
    pub connect: Arc<dyn Connect>,
}

impl Default for Env {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), author: "unknown".into(), connect: Arc::new(Here) }
    }
}

/// An opened replica.
#[derive(Debug)]
pub struct Replica {
    store: Store,
    /// Where the files are; `None` for a bare replica.
    worktree: Option<PathBuf>,
    /// Where the marker, the status cache and `tmp/` are; `None` in a bucket.
    meta: Option<PathBuf>,
    env: Env,
    hlc: Arc<HlcClock>,
    brought: Arc<Mutex<Brought>>,
    /// Its live part, once somebody has asked for it; shared by all handles.
    live: Arc<Mutex<Option<Engine>>>,
}

impl Replica {
    /// Makes a new, empty replica in `dir`, which is created when it is not there. One that was cut off while it was
    /// made has no marker yet: it is made to the end.
    ///
    /// # Errors
    /// `conflict` when there is one already; the file system's.
    pub fn init(dir: &Path, bare: bool, env: Env) -> Result<Self> {
        Self::init_with(dir, bare, env, |_| Ok(()))
    }

    /// As `init`; `first` is done to the replica before anybody else can see that it is one.
    pub(crate) fn init_with(dir: &Path, bare: bool, env: Env, first: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        let meta = if bare { dir.to_owned() } else { dir.join(META_DIR) };
        let taken = || {
            Error::conflict(
                format!("making a replica in {}", dir.display()),
                "there is one already; use it, or choose another directory",
            )
        };
        if meta.join(MARKER).exists() {
            return Err(taken());
        }
        let objects = meta.join("store");
        if bare && !may_become_bare(dir, &objects) {
            return Err(Error::conflict(
                format!("making a bare replica in {}", dir.display()),
                "the directory is not empty; choose an empty or a new one",
            ));
        }
        make_directory(&meta).and_then(|()| make_directory(&objects)).map_err(Error::io("creating", &objects))?;
        let store = match syncline_tree::open_store(directory(&objects)?, true, env.clock.clone()) {
            Err(error) if error.kind() == Kind::Conflict => {
                let store = syncline_tree::open_store(directory(&objects)?, false, env.clock.clone())?;
                let refs = Refs::load(&store)?.0;
                if !refs.branches.is_empty() || refs.staged.is_some() {
                    let why =
                        format!("its store holds versions, but {MARKER} is missing; write it again or move it away");
                    return Err(Error::conflict(format!("making a replica in {}", dir.display()), why));
                }
                store
            }
            made => made?,
        };
        let worktree = (!bare).then(|| dir.to_owned());
        let replica = Self {
            store,
            worktree,
            meta: Some(meta.clone()),
            env,
            hlc: Arc::default(),
            brought: Arc::default(),
            live: Arc::default(),
        };
        first(&replica)?;
        // The marker comes last and at once: a directory with a marker has a whole store.
        match write_marker(&meta.join(MARKER), &objects.join("tmp")) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(taken()),
            written => written.map(|()| replica).map_err(Error::io("writing", &meta.join(MARKER))),
        }
    }

    /// Makes a new, empty dataset at `location`; a bare one.
    ///
    /// # Errors
    /// `conflict` when there is one already, `invalid` when the location is a node; the file system's or the bucket's.
    pub fn create(location: &Location, env: Env) -> Result<Self> {
        match location {
            Location::Path(dir) => Self::init(dir, true, env),
            Location::Bucket(url) => {
                // Two that make it at the same moment make the same: both go on with it.
                if location.is_dataset(&env)? {
                    let why = "there is one already; use it, or another prefix";
                    return Err(Error::conflict(format!("making a dataset at {url}"), why));
                }
                let store = syncline_tree::open_store(location::bucket(url, &env)?, true, env.clock.clone())?;
                Ok(Self {
                    store,
                    worktree: None,
                    meta: None,
                    env,
                    hlc: Arc::default(),
                    brought: Arc::default(),
                    live: Arc::default(),
                })
            }
            Location::Node(url) => Err(Error::invalid(format!("making {url} as a directory"), "it is a node")),
        }
    }

    /// Opens the replica at `location`: a path is its directory, and nothing above or below it. Whoever names a peer must not get
    /// another replica instead, least of all the one around the current directory.
    ///
    /// # Errors
    /// `not-found` when there is none, `invalid` when the location is a node or a newer program made it.
    pub fn open(location: &Location, env: Env) -> Result<Self> {
        match location {
            Location::Path(path) => match Self::open_directory(path, &env)? {
                Some(replica) => Ok(replica),
                None => Err(Error::not_found(
                    format!("a replica at {}", path.display()),
                    "that directory is none; look whether the path is right, or make one there with `syncline init DIR --bare`",
                )),
            },
            Location::Bucket(url) => {
                let store = syncline_tree::open_store(location::bucket(url, &env)?, false, env.clock.clone());
                let store = store.map_err(|error| match error.kind() {
                    Kind::NotFound => Error::not_found(
                        format!("a dataset at {url}"),
                        format!("nothing has made one there; make one with `syncline init {url}`, or push to it"),
                    ),
                    _ => error.into(),
                })?;
                Ok(Self {
                    store,
                    worktree: None,
                    meta: None,
                    env,
                    hlc: Arc::default(),
                    brought: Arc::default(),
                    live: Arc::default(),
                })
            }
            Location::Node(url) => {
                Err(Error::invalid(format!("opening {url} as a directory"), "it is a node; use --on URL or clone it"))
            }
        }
    }

    /// As [`Self::open`], for the directory that somebody works in: it may be any one inside of a working directory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn find(location: &Location, env: Env) -> Result<Self> {
        let Location::Path(start) = location else { return Self::open(location, env) };
        // Not by its letters alone: the path `here/../there` does not lie below `here`.
        let start = match start.canonicalize() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let why = "there is no such directory; make one with `syncline init DIR` or `syncline clone URL DIR`";
                return Err(Error::not_found(format!("a replica at {}", start.display()), why));
            }
            found => found.map_err(Error::io("finding", start))?,
        };
        for dir in start.ancestors() {
            if let Some(replica) = Self::open_directory(dir, &env)? {
                return Ok(replica);
            }
        }
        Err(Error::not_found(
            format!("a replica at {}", start.display()),
            "looked there and in every directory above; make one with `syncline init DIR` or `syncline clone URL DIR`",
        ))
    }

    /// The replica that a directory is, if it is one.
    fn open_directory(dir: &Path, env: &Env) -> Result<Option<Self>> {
        let dir = std::path::absolute(dir).map_err(Error::io("finding", dir))?;
        let nested = dir.join(META_DIR);
        let (meta, worktree) = if nested.join(MARKER).is_file() {
            (nested, Some(dir))
        } else if dir.join(MARKER).is_file() && dir.join("store").is_dir() {
            (dir, None)
        } else {
            return Ok(None);
        };
        check_marker(&meta.join(MARKER))?;
        let store = syncline_tree::open_store(directory(&meta.join("store"))?, false, env.clock.clone())?;
        let meta = Some(meta);
        Ok(Some(Self {
            store,
            worktree,
            meta,
            env: env.clone(),
            hlc: Arc::default(),
            brought: Arc::default(),
            live: Arc::default(),
        }))
    }

    /// Whether both are one replica in a directory of this machine.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |replica: &Self| replica.meta.as_ref().and_then(|meta| meta.canonicalize().ok());
        place(self).is_some_and(|here| place(other) == Some(here))
    }

    /// The same replica for another piece of work: whoever shares one among sessions and verbs gives each its own, so that each
    /// is told by itself when a collection has taken what it had stored and not named yet ([`Store::work`]).
    #[must_use]
    pub fn for_work(&self) -> Self {
        Self {
            store: self.store.work(),
            worktree: self.worktree.clone(),
            meta: self.meta.clone(),
            env: self.env.clone(),
            hlc: Arc::clone(&self.hlc),
            brought: Arc::default(),
            live: Arc::clone(&self.live),
        }
    }

    /// This handle, for work that ends early when `stopped` says so: see [`Store::until`].
    #[must_use]
    pub fn until(&self, stopped: Stop) -> Self {
        Self { store: self.store.until(stopped), ..self.for_work() }
    }

    /// The store under it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where its files are, unless it is bare.
    #[must_use]
    pub fn worktree(&self) -> Option<&Path> {
        self.worktree.as_deref()
    }

    /// The directory for the status cache and temporary files, unless it is in a bucket.
    #[must_use]
    pub fn meta(&self) -> Option<&Path> {
        self.meta.as_deref()
    }

    /// Its live part, opened, and made when there is none. Whoever has it keeps other processes from it until the last handle
    /// is gone.
    ///
    /// # Errors
    /// [`Error::Served`] when another process has it; `invalid` in a bucket; the log's.
    pub fn live(&self) -> Result<Engine> {
        let Some(meta) = &self.meta else {
            let why = "live tables need a directory; clone the dataset to one, or ask a node that serves it from one";
            return Err(Error::invalid("opening live tables in a bucket", why));
        };
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*live {
            return Ok(engine.clone());
        }
        let until = self.clock().monotonic() + PATIENCE;
        loop {
            let holder = match Home::take(meta)? {
                Taken::Ours(home) => return Ok(live.insert(Engine::of(home, &self.env.clock, &self.store)?).clone()),
                Taken::Others(holder) => holder,
            };
            // A command that serves nobody is done soon; a node says soon where it serves.
            if holder.url.is_some() || self.clock().monotonic() >= until {
                return Err(Error::Served { dir: meta.clone(), pid: holder.pid, url: holder.url });
            }
            self.clock().sleep(PAUSE);
        }
    }

    /// Whether it has a live part.
    #[must_use]
    pub fn has_live(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| home::exists(meta))
    }

    /// Its live part, if it has one.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn live_if_there(&self) -> Result<Option<Engine>> {
        if self.has_live() { self.live().map(Some) } else { Ok(None) }
    }

    /// What it was given from outside.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.env.clock
    }

    /// Whose name goes into commits.
    #[must_use]
    pub fn author(&self) -> &str {
        &self.env.author
    }

    /// Its names.
    ///
    /// # Errors
    /// The store's.
    pub fn refs(&self) -> Result<Refs> {
        Ok(Refs::load(&self.store)?.0)
    }

    /// Where the cost of contents that are brought is added up.
    pub(crate) fn tally(&self) -> Arc<Mutex<Brought>> {
        Arc::clone(&self.brought)
    }

    /// What contents have cost since this was asked last.
    pub(crate) fn take_brought(&self) -> Brought {
        std::mem::take(&mut *self.brought.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it holds.
    ///
    /// # Errors
    /// The store's.
    pub fn part(&self) -> Result<Part> {
        Part::of(self.refs()?.scope.as_ref())
    }

    /// Opens a tree of a version.
    ///
    /// # Errors
    /// `not-found` when it is not in the part that this replica holds; the store's.
    pub(crate) fn table(&self, name: &TreeName, table: &TableRef) -> Result<Table> {
        self.part()?.check(name)?;
        Ok(Table::open(&self.store, table)?)
    }

    /// A timestamp later than every one in `refs` and in `parents`.
    pub fn stamp<'a>(&self, refs: &Refs, parents: impl IntoIterator<Item = &'a Commit>) -> Hlc {
        self.hlc.observe(refs.newest());
        for parent in parents {
            self.hlc.observe(parent.hlc);
        }
        self.hlc.stamp(&*self.env.clock)
    }

    /// The dataset root of the current branch's commit; an empty one before the first commit.
    ///
    /// # Errors
    /// The store's.
    pub fn head_root(&self, refs: &Refs) -> Result<DatasetRoot> {
        match refs.head_commit() {
            Some(id) => self.root_of(&id),
            None => Ok(DatasetRoot::default()),
        }
    }

    /// The dataset root of a commit.
    ///
    /// # Errors
    /// The store's.
    pub fn root_of(&self, commit: &Hash) -> Result<DatasetRoot> {
        let commit = Commit::load(&self.store, commit)?;
        Ok(DatasetRoot::load(&self.store, &commit.root)?)
    }

    /// What the next commit starts from: what is staged, or else the current branch's version.
    ///
    /// # Errors
    /// The store's.
    pub fn working_root(&self, refs: &Refs) -> Result<DatasetRoot> {
        match refs.staged {
            Some(root) => Ok(DatasetRoot::load(&self.store, &root)?),
            None => self.head_root(refs),
        }
    }
}

fn directory(path: &Path) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(backend::directory::Directory::new(path)))
}

/// Whether a bare replica may be made in `dir`: it is empty, or has only the store of one that was cut off.
fn may_become_bare(dir: &Path, objects: &Path) -> bool {
    let Ok(mut entries) = dir.read_dir() else { return true };
    let begun = || objects.join("store.json").is_file() || only(objects, &["tmp", "lock", "head"]);
    entries.all(|entry| entry.is_ok_and(|entry| entry.path() == objects && begun()))
}

/// Whether a directory holds nothing, or nothing but `names`.
fn only(dir: &Path, names: &[&str]) -> bool {
    let known = |entry: std::fs::DirEntry| names.iter().any(|name| entry.file_name() == *name);
    dir.read_dir().is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(known)))
}

/// Gives a directory its marker; `AlreadyExists` when somebody else was quicker.
fn write_marker(path: &Path, temporary: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(temporary)?;
    // Who may read it is up to the user's umask, as for every other file of the replica.
    let readable = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(temporary)?;
    file.write_all(MARKER_TEXT.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    match path.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn check_marker(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(Error::io("reading", path))?;
    if text == MARKER_TEXT {
        return Ok(());
    }
    Err(Error::invalid(
        format!("opening the replica of {}", path.display()),
        format!(
            "its marker is {:?}; this program knows {:?}; a newer version of syncline can open it",
            text.trim(),
            MARKER_TEXT.trim()
        ),
    ))
}

#[cfg(test)]
mod tests;

//! Keeping one directory in step with the rows: one thread that is told what changes on either side, and does it.
//!
//! Owns: the desk (what the directory held, its temporary files), the watches, and two threads. After a crash: the next start compares
//! the directory with what is remembered of it before it takes anything in, so edits that were made meanwhile are found.
//!
//! Not here: contents on their way (`super::contents`), connections.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_base::{Clock, task};
use syncline_store::Store;

use super::base::Base;
use super::following::Following;
use super::part::{NAMED, Part};
use super::place::Place;
use super::watching::Watching;
use crate::live::Engine;
use crate::replica::Replica;
use crate::worktree::dirs::Root;
use crate::worktree::stat::Stat;
use crate::{Error, Result};

/// A file that nobody has written to for so long is taken.
const QUIET: Duration = Duration::from_millis(30);
/// What is new or gone is taken when nothing has been written for a moment, so that what belongs together (a rename, a folder that is removed) is
/// seen together; after so long all the same.
const TOGETHER: Duration = Duration::from_secs(1);
/// One that is written all the time is taken after so long all the same.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between looks for contents that are on their way.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// After a fault, all is looked at again.
const RETRY: Duration = Duration::from_secs(1);
/// What is looked at again because it was changed here while it was to be written.
const AGAIN: Duration = Duration::from_millis(100);
/// Paths whose contents are looked for at once.
const LOOKED_FOR: usize = 256;
/// How long somebody waits who may have to stop.
const STOP: Duration = Duration::from_millis(300);

/// How a directory is kept in step.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether most of the files may be deleted at once.
    pub allow_mass_delete: bool,
    /// How often the whole directory is looked at, whatever the system tells.
    pub rescan: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { allow_mass_delete: false, rescan: Duration::from_secs(60) }
    }
}

/// How a directory is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Files, links and empty folders that it and the rows agree about.
    pub files: u64,
    /// Paths that were taken from it since the start.
    pub sent: u64,
    /// Paths that were written or removed in it since the start.
    pub received: u64,
    /// Paths whose content is on its way here.
    pub waiting: u64,
    /// Files that are shown beside the path that they were written to.
    pub conflicts: u64,
    /// Deletions that are not sent, because they are most of the files.
    pub held: u64,
    /// The scope that it follows, or else holds, if not everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whether that has not come yet: until it has, nothing of the directory is sent.
    #[serde(default)]
    pub scope_waits: bool,
    /// Files that are outside of the scope: they stay here and are not sent.
    #[serde(default)]
    pub outside: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside_paths: Vec<String>,
    /// Whether the system tells what changes; else it is only looked at now and then.
    pub watched: bool,
    /// What was last told that somebody should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum News {
    /// Something may have changed at these paths of the directory.
    Paths(Vec<String>),
    /// Anything may have changed in the directory.
    Rescan,
    /// These paths' rows have changed.
    Rows(Vec<String>),
    /// Any row may have changed.
    AllRows,
    /// Another scope is held.
    Part,
    /// It is over.
    Stop,
}

/// A directory that is kept in step, with what is known about it.
pub(super) struct Desk {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) root: Root,
    pub(super) meta: PathBuf,
    pub(super) base: Base,
    pub(super) place: Place,
    pub(super) clock: Arc<dyn Clock>,
    /// Paths that somebody writes to: since when, and when last.
    dirty: BTreeMap<String, (Duration, Duration)>,
    /// Paths that were changed here when something was to be written there.
    pub(super) unread: BTreeSet<String>,
    /// Paths whose content is not here yet.
    pub(super) waiting: BTreeSet<String>,
    /// What the directory holds of the dataset.
    pub(super) part: Part,
    /// Files here that are not in that; with what the file system says, when they are known to have been changed here.
    pub(super) outside: BTreeMap<String, Option<Stat>>,
    /// Paths that are not in that, and that rows say something about still.
    pub(super) leaving: BTreeSet<String>,
    pub(super) allow_mass_delete: bool,
    /// When how many removals were told to others.
    pub(super) removed: Vec<(Duration, usize)>,
    pub(super) status: Status,
}

impl Desk {
    fn open(replica: &Replica, settings: &Settings) -> Result<Self> {
        let refused = |why: &str| Error::invalid("keeping a directory in step", why.to_owned());
        let (Some(worktree), Some(meta)) = (replica.worktree(), replica.meta()) else {
            return Err(refused(
                "this replica has no files of its own; make one with `syncline init DIR` or `syncline clone URL DIR`",
            ));
        };
        if replica.part()?.is_outline() || !replica.part()?.tree(&syncline_tree::TreeName::Files) {
            return Err(refused("this replica holds a part of its dataset only; clone the whole"));
        }
        let engine = replica.live()?;
        Ok(Self {
            engine,
            store: replica.store().work(),
            root: Root::open(worktree)?,
            meta: meta.to_owned(),
            base: Base::open(&meta.join("live"))?,
            place: Place::new(meta)?,
            clock: Arc::clone(&replica.env().clock),
            dirty: BTreeMap::new(),
            unread: BTreeSet::new(),
            waiting: BTreeSet::new(),
            part: Part::default(),
            outside: BTreeMap::new(),
            leaving: BTreeSet::new(),
            allow_mass_delete: settings.allow_mass_delete,
            removed: Vec::new(),
            status: Status::default(),
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Somebody writes to a path.
    pub(super) fn touch(&mut self, path: String) {
        let now = self.now();
        self.dirty.entry(path).or_insert((now, now)).1 = now;
    }

    /// Something that somebody should know.
    pub(super) fn told(&mut self, what: &str) {
        if self.status.warning.as_deref() != Some(what) {
            tracing::warn!(what, "files");
            self.status.warning = Some(what.to_owned());
        }
    }

    /// Paths that nobody has written to for a while.
    fn quiet(&mut self) -> BTreeSet<String> {
        let now = self.now();
        let is_quiet = |(first, last): (Duration, Duration)| now >= last + QUIET || now >= first + PATIENCE;
        let quiet: BTreeSet<String> =
            self.dirty.iter().filter(|(_, times)| is_quiet(**times)).map(|(path, _)| path.clone()).collect();
        self.dirty.retain(|path, _| !quiet.contains(path));
        quiet
    }

    fn recount(&mut self) {
        self.status.files = self.base.len() as u64;
        self.status.waiting = self.waiting.len() as u64;
        self.status.outside = self.outside.len() as u64;
        self.status.outside_paths = self.outside.keys().take(NAMED).cloned().collect();
        self.status.conflicts = self.base.iter().filter(|(_, known)| known.of.is_some()).count() as u64;
    }
}

/// What keeps a directory in step until it is dropped.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    news: Sender<News>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Who is gone needs no telling.
        let _ = self.news.send(News::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Brings a replica's directory and its rows in step, and keeps them so in the background. `tell` is told whenever something has changed.
///
/// # Errors
/// `invalid` for a replica without files of its own; the file system's, the store's and the log's.
pub fn start(replica: &Replica, settings: &Settings, tell: impl Fn(&Status) + Send + 'static) -> Result<Running> {
    let mut desk = Desk::open(replica, settings)?;
    let (news, heard) = mpsc::channel();
    let (path, teller) = (desk.root.path.clone(), news.clone());
    // Before the first look: what changes after it is told.
    let watching = Watching::begin(&path, move |what| drop(teller.send(what)));
    let watching = watching.inspect_err(|error| {
        let why = format!(
            "the system does not tell what changes in {}: {error}; it is looked at now and then",
            path.display()
        );
        desk.told(&why);
    });
    let mut watching = watching.ok();
    desk.status.watched = watching.is_some();
    let following = Following::from_now(&desk.engine)?;
    // What was changed here while nobody looked comes first: it was written on what the directory showed then.
    desk.refresh_part()?;
    desk.scan(&BTreeSet::new())?;
    desk.settle_all()?;
    desk.recount();
    tell(&desk.status);
    let stop = Arc::new(AtomicBool::new(false));
    let failed = |error: std::io::Error| Error::Unavailable {
        what: "keeping a directory in step".into(),
        why: format!("no thread could be started: {error}"),
    };
    let (teller, stopped) = (news.clone(), Arc::clone(&stop));
    let follower = task::spawn("syncline-rows", move || following.run(&teller, &stopped));
    let mut running = Running { stop, news, threads: vec![follower.map_err(failed)?] };
    let rescan = if watching.is_some() { settings.rescan } else { settings.rescan.min(Duration::from_secs(5)) };
    let work = move || run(&mut desk, watching.as_mut(), &heard, rescan, &tell);
    running.threads.push(task::spawn("syncline-files", work).map_err(failed)?);
    Ok(running)
}

/// What there is to do.
#[derive(Debug, Default)]
struct Todo {
    rows: BTreeSet<String>,
    all_rows: bool,
    /// Whether what is to leave the directory may go now.
    leaving: bool,
    /// When the whole directory is to be looked at.
    scan: Option<Duration>,
    /// Since when it is to be.
    asked: Option<Duration>,
    stop: bool,
}

fn run(
    desk: &mut Desk,
    mut watching: Option<&mut Watching>,
    heard: &Receiver<News>,
    rescan: Duration,
    tell: &(dyn Fn(&Status) + Send),
) {
    let mut todo = Todo::default();
    let (mut pause, mut look) = (PAUSES.0, Duration::ZERO);
    let mut next_scan = desk.now() + rescan;
    loop {
        let now = desk.now();
        let times = desk.dirty.values().map(|(_, last)| *last + QUIET).chain(todo.scan).chain([next_scan]);
        let times = times.chain((!desk.waiting.is_empty()).then_some(look));
        let wait = times.min().unwrap_or(next_scan).saturating_sub(now).max(Duration::from_millis(1));
        match heard.recv_timeout(wait) {
            Ok(first) => {
                hear(desk, watching.as_deref_mut(), first, &mut todo);
                while let Ok(more) = heard.try_recv() {
                    hear(desk, watching.as_deref_mut(), more, &mut todo);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if todo.stop {
            return;
        }
        let before = desk.status.clone();
        if !todo.rows.is_empty() || todo.all_rows {
            (pause, look) = (PAUSES.0, desk.now());
        }
        if desk.now() >= next_scan {
            todo.scan = Some(Duration::ZERO);
            todo.all_rows = true;
            next_scan = desk.now() + rescan;
        }
        if let Err(error) = work(desk, watching.as_deref_mut(), &mut todo) {
            desk.told(&error.to_string());
            // What a collection has taken is stored again by another piece of work.
            desk.store = desk.store.work();
            todo.all_rows = true;
            todo.scan = Some(desk.now() + RETRY);
            desk.clock.sleep(STOP);
        }
        if !desk.waiting.is_empty() && desk.now() >= look {
            let some: Vec<String> = desk.waiting.iter().take(LOOKED_FOR).cloned().collect();
            let before = desk.waiting.len();
            if let Err(error) = desk.settle(&some) {
                desk.told(&error.to_string());
            }
            pause = if desk.waiting.len() < before { PAUSES.0 } else { (pause * 3 / 2).min(PAUSES.1) };
            look = desk.now() + pause;
        }
        desk.recount();
        if desk.status != before {
            tell(&desk.status);
        }
    }
}

fn hear(desk: &mut Desk, watching: Option<&mut Watching>, news: News, todo: &mut Todo) {
    match news {
        News::Paths(paths) => {
            if let Some(watching) = watching {
                paths.iter().for_each(|path| watching.forget(path));
            }
            paths.into_iter().for_each(|path| desk.touch(path));
        }
        News::Rescan => todo.scan = Some(desk.now()),
        News::Rows(paths) => {
            todo.rows.extend(paths);
            todo.leaving = true;
        }
        News::AllRows => todo.all_rows = true,
        News::Part => {
            todo.all_rows = true;
            todo.scan = Some(desk.now());
        }
        News::Stop => todo.stop = true,
    }
}

/// Does what there is to do.
fn work(desk: &mut Desk, watching: Option<&mut Watching>, todo: &mut Todo) -> Result<()> {
    if desk.refresh_part()? {
        todo.all_rows = true;
        todo.scan = Some(desk.now());
    }
    if std::mem::take(&mut todo.leaving) {
        desk.settle_leaving()?;
    }
    if std::mem::take(&mut todo.all_rows) {
        todo.rows.clear();
        desk.settle_all()?;
    }
    if !todo.rows.is_empty() {
        let rows: Vec<String> = std::mem::take(&mut todo.rows).into_iter().collect();
        desk.settle(&rows)?;
    }
    let quiet = desk.quiet();
    if !quiet.is_empty() {
        let mut known = true;
        for path in &quiet {
            let stat = desk.root.dirs().stat(path)?.flatten();
            let is_file = stat.is_some_and(|stat| stat.kind != syncline_tree::files::FileKind::Folder);
            known &= is_file && desk.base.get(path).is_some() && desk.is_inside(path);
        }
        if known {
            desk.look(&quiet)?;
        } else {
            todo.scan = Some(Duration::ZERO);
        }
    }
    if todo.scan.is_some_and(|at| at <= desk.now()) {
        let asked = *todo.asked.get_or_insert(desk.now());
        if !desk.dirty.is_empty() && desk.now() < asked + TOGETHER {
            todo.scan = Some(desk.now() + QUIET);
            return Ok(());
        }
        (todo.scan, todo.asked) = (None, None);
        if let Some(watching) = watching
            && let Err(error) = watching.refresh()
        {
            desk.told(&format!(
                "the system does not tell all that changes: {error}; the directory is looked at now and then"
            ));
        }
        let busy: BTreeSet<String> = desk.dirty.keys().cloned().collect();
        desk.scan(&busy)?;
    }
    if !std::mem::take(&mut desk.unread).is_empty() {
        todo.scan = Some(todo.scan.unwrap_or(desk.now() + AGAIN));
    }
    Ok(())
}

//! `clone`, `pull`, `push` and `sync`: bring two replicas to the same version.
//!
//! Each takes a transport that is connected already, so this module does not know what is between the two.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind};
use syncline_sync::wire::MAX_NAMES;
use syncline_sync::{PullRequest, Pulled, PushRequest, RefMove, Traffic, Transport, Watch};
use syncline_tree::refs::Scope;
use syncline_tree::{DatasetRoot, Refs, refs};

use super::merge::{self, Outcome};
use crate::change::{self, TreeChange};
use crate::local::{BRANCHES, TAGS};
use crate::part::Part;
use crate::progress::{Progress, Unit};
use crate::replica::{Env, MARKER, META_DIR, Replica};
use crate::tags::{self, Tag, Tags, Taken};
use crate::{Error, Result, contents, reach, work};

/// The name under which a replica remembers the peer that it was cloned from.
pub const ORIGIN: &str = "origin";
/// The verb, for the history of refs.
const CLONE: &str = "clone";

/// What a transfer cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes sent on the wire.
    pub bytes_sent: u64,
    /// Bytes received on the wire.
    pub bytes_received: u64,
    /// How often this side had to wait for an answer.
    pub round_trips: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Cost {
    fn add(&mut self, traffic: Traffic) {
        self.bytes_sent += traffic.bytes_sent;
        self.bytes_received += traffic.bytes_received;
        self.round_trips += traffic.round_trips;
    }

    /// Adds what contents of files have cost; returns how many objects they were.
    pub(crate) fn add_brought(&mut self, replica: &Replica) -> u64 {
        let brought = replica.take_brought();
        self.add(brought.traffic);
        brought.objects
    }
}

/// What `clone` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CloneRequest {
    /// Where the other replica is; remembered.
    pub url: String,
    /// Where to put the copy.
    pub dir: PathBuf,
    /// Whether to make a copy without a working directory.
    #[serde(default)]
    pub bare: bool,
    /// Only these tables (`files` is the file tree); everything when absent.
    #[serde(default)]
    pub tables: Option<Vec<String>>,
    /// Only so many of the newest commits of each branch.
    #[serde(default)]
    pub depth: Option<u32>,
    /// Only the contents of files that match these patterns; none when empty, all when absent.
    #[serde(default)]
    pub paths: Option<Vec<String>>,
}

impl CloneRequest {
    /// What the copy is to hold, when that is not everything.
    fn scope(&self) -> Option<Scope> {
        let mut tables: Option<BTreeSet<String>> = self.tables.as_ref().map(|names| names.iter().cloned().collect());
        if let (Some(tables), Some(_)) = (&mut tables, &self.paths) {
            tables.insert("files".into());
        }
        (tables.is_some() || self.paths.is_some()).then(|| Scope { tables, paths: self.paths.clone() })
    }
}

/// What to ask a peer for: the part that this replica holds. One whose history ends early takes the tags that lead to what
/// it has: an old one would bring old versions.
fn ask(scope: Option<&Scope>, depth: Option<u32>, follow: bool) -> PullRequest {
    PullRequest {
        refs: Vec::new(),
        tables: scope.and_then(|scope| scope.tables.as_ref()).map(|tables| tables.iter().cloned().collect()),
        depth,
        outline: scope.is_some_and(|scope| scope.paths.is_some()),
        follow,
    }
}

/// What `clone` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cloned {
    /// Where the copy is.
    pub dir: PathBuf,
    /// The branch that is checked out.
    pub branch: String,
    /// Its commit; absent when the dataset is empty.
    pub commit: Option<Hash>,
    /// Its content root.
    pub root: Option<Hash>,
    /// The tags that came along.
    pub tags: Vec<Tag>,
    /// Objects that were received.
    pub objects: u64,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// Copies a dataset. A clone that was cut off goes on where it stopped when it is run again on the same directory.
///
/// # Errors
/// `conflict` when the directory holds another replica; the peer's and the transport's.
pub fn clone(
    request: &CloneRequest,
    env: Env,
    transport: &mut dyn Transport,
    progress: &dyn Progress,
) -> Result<Cloned> {
    let clock = env.clock.clone();
    let started = clock.monotonic();
    Part::of(request.scope().as_ref())?;
    let was_there = request.dir.exists();
    let (replica, is_new) = start_clone(request, env)?;
    let mut cost = Cost::default();
    let part = replica.part()?;
    let pulled = match receive(&replica, request, transport, progress, &mut cost) {
        Ok(pulled) => pulled,
        Err(error) => {
            // What has arrived is kept for the next try. Where nothing has, the directory is free for another one.
            if is_new && replica.store().usage()?.objects == 0 {
                drop(replica);
                remove_clone(request, was_there);
            }
            return Err(error);
        }
    };
    let unknown = unknown_table(&replica, request, &pulled)?;
    if let Some(error) = unknown {
        if is_new {
            drop(replica);
            remove_clone(request, was_there);
        }
        return Err(error);
    }
    let head = pulled.head.as_deref().and_then(|name| name.strip_prefix(BRANCHES)).unwrap_or("main").to_owned();
    // It becomes a name here: a peer may send anything.
    refs::check_name(&head)?;
    let tags: Vec<Tag> = tags_of(&pulled.refs).map(|(name, commit)| Tag { name: name.to_owned(), commit }).collect();
    let tip = pulled.refs.iter().find(|(name, _)| name.strip_prefix(BRANCHES) == Some(&head)).map(|(_, id)| *id);
    let after = tip.map(|id| replica.root_of(&id)).transpose()?.unwrap_or_default();
    bring(&replica, &part, &after)?;
    let before = replica.working_root(&replica.refs()?)?;
    work::transition(&replica, &before, &after, false, || {
        refs::update(replica.store(), |refs| {
            if refs.has_staged() || refs.history.iter().any(|step| step.why != CLONE) {
                let why = "changes were staged or committed there meanwhile; clone into another directory";
                return Ok(Err(Error::conflict(format!("cloning into {}", request.dir.display()), why)));
            }
            let hlc = replica.stamp(refs, []);
            let seen = refs.remotes.entry(ORIGIN.into()).or_default();
            seen.url.clone_from(&request.url);
            for (name, id) in &pulled.refs {
                if let Some(branch) = name.strip_prefix(BRANCHES) {
                    refs::check_name(branch)?;
                    seen.branches.insert(branch.to_owned(), *id);
                }
            }
            for (name, id) in &pulled.refs {
                if let Some(branch) = name.strip_prefix(BRANCHES) {
                    refs.move_branch(branch, Some(*id), hlc, CLONE);
                }
            }
            for tag in &tags {
                refs::check_name(&tag.name)?;
                refs.take_tag(&tag.name, tag.commit);
            }
            refs.head.clone_from(&head);
            Ok(Ok(()))
        })?
    })?;
    let objects = pulled.objects + cost.add_brought(&replica);
    cost.seconds = (clock.monotonic() - started).as_secs_f64();
    let root = tip.map(|_| after.hash());
    Ok(Cloned { dir: request.dir.clone(), branch: head, commit: tip, root, tags, objects, cost })
}

/// The tags among refs, by their short names.
fn tags_of(refs: &[(String, Hash)]) -> impl Iterator<Item = (&str, Hash)> {
    refs.iter().filter_map(|(full, id)| Some((full.strip_prefix(TAGS)?, *id)))
}

fn receive(
    replica: &Replica,
    request: &CloneRequest,
    transport: &mut dyn Transport,
    progress: &dyn Progress,
    cost: &mut Cost,
) -> Result<Pulled> {
    let ask = ask(request.scope().as_ref(), request.depth, request.depth.is_some());
    progress.stage("receiving", 0, Unit::Bytes);
    let (pulled, traffic) = syncline_sync::pull(replica, transport, &ask, &mut Told::new(progress))?;
    cost.add(traffic);
    Ok(pulled)
}

/// A table that no version has is more likely misspelt than to come.
fn unknown_table(replica: &Replica, request: &CloneRequest, pulled: &Pulled) -> Result<Option<Error>> {
    if request.tables.is_none() || pulled.refs.is_empty() {
        return Ok(None);
    }
    let mut there = BTreeSet::new();
    for (_, id) in &pulled.refs {
        there.extend(replica.root_of(id)?.tables.into_keys());
    }
    let unknown = request.tables.iter().flatten().find(|name| *name != "files" && !there.contains(*name));
    Ok(unknown.map(|name| {
        let there: Vec<&String> = there.iter().collect();
        let why = format!("looked in all branches and tags there; they have {there:?}");
        Error::not_found(format!("table {name:?}"), why)
    }))
}

/// Takes away a replica that nothing was cloned into. What cannot be removed is told to nobody: the fault is.
fn remove_clone(request: &CloneRequest, was_there: bool) {
    let meta = if request.bare { request.dir.clone() } else { request.dir.join(META_DIR) };
    let _ = std::fs::remove_file(meta.join(MARKER));
    let _ = std::fs::remove_dir_all(if request.bare { meta.join("store") } else { meta });
    if !was_there {
        let _ = std::fs::remove_dir(&request.dir);
    }
}

/// Makes the replica that is cloned into, or opens the one that an earlier clone left unfinished. True when it is new.
fn start_clone(request: &CloneRequest, env: Env) -> Result<(Replica, bool)> {
    let note_origin = |replica: &Replica| {
        refs::update(replica.store(), |refs| {
            refs.remotes.entry(ORIGIN.into()).or_default().url.clone_from(&request.url);
            refs.scope = request.scope();
            Ok(())
        })?;
        Ok(())
    };
    match Replica::init_with(&request.dir, request.bare, env.clone(), note_origin) {
        Err(error) if error.kind() == Kind::Conflict => {
            let Ok(replica) = Replica::open(&crate::Location::Path(request.dir.clone()), env) else {
                return Err(error);
            };
            let refs = replica.refs()?;
            let ours = refs.remotes.get(ORIGIN).is_some_and(|origin| origin.url == request.url)
                && refs.scope == request.scope();
            // It was cut off before its refs moved, or since then before its files were in place.
            let nothing_else = refs.history.iter().all(|step| step.why == CLONE);
            let unfinished = refs.branches.is_empty() || (nothing_else && work::is_unfinished(&replica));
            // What is staged was made on the version that is there, and would take back what comes.
            if ours && unfinished && !refs.has_staged() { Ok((replica, false)) } else { Err(error) }
        }
        made => Ok((made?, true)),
    }
}

/// What `pull`, `push` and `sync` are asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Where the peer is; remembered for the next time.
    pub url: String,
    /// Whether a version that deletes more than half of a tree may pass.
    #[serde(default)]
    pub allow_mass_delete: bool,
    /// Pull: only fetch, do not merge.
    #[serde(default)]
    pub fetch_only: bool,
    /// Push: move the branch even if that drops commits there.
    #[serde(default)]
    pub force: bool,
    /// Push: make all tags there, too.
    #[serde(default)]
    pub tags: bool,
}

/// What `pull`, `push` and `sync` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Where the peer is.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// Its commit here, now.
    pub commit: Option<Hash>,
    /// Its content root here, now.
    pub root: Option<Hash>,
    /// Its commit on the peer, as far as is known now.
    pub theirs: Option<Hash>,
    /// Whether both sides are at the same commit.
    pub in_sync: bool,
    /// How what was pulled was brought in.
    pub merged: Option<Outcome>,
    /// Rows that are in conflict after a pull.
    pub conflicts: usize,
    /// What changed here.
    pub changes: Vec<TreeChange>,
    /// Which tags came and went.
    pub tags: Tags,
    /// Commits that passed.
    pub commits: u64,
    /// Objects that passed.
    pub objects: u64,
    /// Trees that were brought up to date by their row delta.
    pub deltas: u64,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

impl Report {
    fn new(replica: &Replica, url: &str) -> Result<Self> {
        Ok(Self {
            url: url.to_owned(),
            branch: replica.refs()?.head,
            commit: None,
            root: None,
            theirs: None,
            in_sync: false,
            merged: None,
            conflicts: 0,
            changes: Vec::new(),
            tags: Tags::default(),
            commits: 0,
            objects: 0,
            deltas: 0,
            cost: Cost::default(),
        })
    }

    fn close(mut self, replica: &Replica, started: std::time::Duration) -> Result<Self> {
        let refs = replica.refs()?;
        self.commit = refs.head_commit();
        self.root = refs.head_commit().map(|id| replica.root_of(&id).map(|root| root.hash())).transpose()?;
        self.in_sync = self.commit == self.theirs;
        self.cost.seconds = (replica.clock().monotonic() - started).as_secs_f64();
        Ok(self)
    }
}

/// A transfer with one peer: what was asked, and what has come of it so far.
struct Exchange<'a> {
    replica: &'a Replica,
    request: &'a Request,
    progress: &'a dyn Progress,
    started: Duration,
    report: Report,
    /// The tags that the peer had when it was pulled from.
    theirs: BTreeSet<String>,
}

impl<'a> Exchange<'a> {
    fn begin(replica: &'a Replica, request: &'a Request, progress: &'a dyn Progress) -> Result<Self> {
        let started = replica.clock().monotonic();
        Ok(Self {
            replica,
            request,
            progress,
            started,
            report: Report::new(replica, &request.url)?,
            theirs: BTreeSet::new(),
        })
    }

    fn close(mut self) -> Result<Report> {
        self.report.objects += self.report.cost.add_brought(self.replica);
        self.report.close(self.replica, self.started)
    }

    /// Fetches what the peer has, and merges its version of the current branch.
    fn pull(&mut self, transport: &mut dyn Transport) -> Result<()> {
        self.progress.stage("receiving", 0, Unit::Bytes);
        let part = self.replica.part()?;
        let refs = self.replica.refs()?;
        let ask = ask(refs.scope.as_ref(), None, !refs.shallow.is_empty());
        let (pulled, traffic) = syncline_sync::pull(self.replica, transport, &ask, &mut Told::new(self.progress))?;
        self.report.cost.add(traffic);
        self.report.commits += pulled.commits;
        self.report.objects += pulled.objects;
        self.report.deltas += pulled.deltas;
        for (full, _) in &pulled.refs {
            // They become names here: a peer may send anything.
            let name = full.strip_prefix(BRANCHES).or_else(|| full.strip_prefix(TAGS));
            name.map_or(Ok(()), refs::check_name)?;
        }
        let (remote, branch, taken) = self.take_names(&pulled.refs)?;
        self.report.tags.note_pulled(&pulled.refs, taken);
        self.theirs = tags_of(&pulled.refs).map(|(name, _)| name.to_owned()).collect();
        self.report.theirs =
            pulled.refs.iter().find(|(name, _)| name.strip_prefix(BRANCHES) == Some(&branch)).map(|(_, id)| *id);
        let Some(theirs) = self.report.theirs.filter(|_| !self.request.fetch_only) else { return Ok(()) };
        bring(self.replica, &part, &self.replica.root_of(&theirs)?)?;
        if self.replica.refs()?.head_commit().is_none() {
            return adopt(self.replica, &branch, theirs, &mut self.report);
        }
        let merge = merge::Request {
            name: format!("{remote}/{branch}"),
            allow_mass_delete: self.request.allow_mass_delete,
            ..merge::Request::default()
        };
        let merged = merge::merge(self.replica, &merge, theirs)?;
        self.report.merged = Some(merged.outcome);
        self.report.conflicts = merged.conflicts;
        self.report.changes = merged.changes;
        Ok(())
    }

    /// Notes what the peer has, and takes the names that are not here. Also the peer's name here, and the current branch.
    fn take_names(&self, theirs: &[(String, Hash)]) -> Result<(String, String, Taken)> {
        let store = self.replica.store();
        refs::update(store, |refs| {
            // All of them or, on any error, none.
            let mut after = refs.clone();
            let name = remember(&mut after, &self.request.url, theirs);
            let hlc = self.replica.stamp(&after, []);
            for (full, id) in theirs {
                // A branch that is only there: have it here, too. What `gc` gave up here does not come back with a name.
                if let Some(branch) = full.strip_prefix(BRANCHES)
                    && !after.branches.contains_key(branch)
                    && branch != after.head
                    && !reach::is_given_up(store, &after, id).unwrap_or(false)
                {
                    after.move_branch(branch, Some(*id), hlc, "pull");
                }
            }
            Ok(tags::take(store, &mut after, tags_of(theirs)).map(|taken| {
                *refs = after;
                (name, refs.head.clone(), taken)
            }))
        })?
    }

    /// The tags that are to be made on the peer.
    fn tags_to_send(&self, refs: &Refs, which: impl Fn(&str) -> bool) -> Result<Vec<Tag>> {
        let tags = refs.tags.iter().filter(|(name, _)| which(name));
        let tags: Vec<Tag> = tags.map(|(name, commit)| Tag { name: name.clone(), commit: *commit }).collect();
        if tags.len() >= MAX_NAMES {
            let why = format!("{} are more than one transfer takes: remove some", tags.len());
            return Err(Error::invalid(format!("sending tags to {}", self.request.url), why));
        }
        Ok(tags)
    }

    /// Sends the current branch, unless the peer has it, and tags; moves the peer's branch.
    fn push(&mut self, transport: &mut dyn Transport, tags: &[Tag]) -> Result<()> {
        let refs = self.replica.refs()?;
        let target = refs.head_commit().ok_or_else(Error::no_commit_yet)?;
        let full = format!("{BRANCHES}{}", refs.head);
        let step = |name: String, target: Hash, only_new: bool| RefMove {
            name,
            expected: None,
            target: Some(target),
            force: self.request.force && !only_new,
            allow_mass_delete: self.request.allow_mass_delete,
            only_new,
        };
        let branch = Some(step(full.clone(), target, false)).filter(|_| self.report.theirs != Some(target));
        let new = tags.iter().map(|tag| step(format!("{TAGS}{}", tag.name), tag.commit, true));
        let ask = PushRequest { moves: branch.into_iter().chain(new).collect() };
        self.progress.stage("sending", 0, Unit::Bytes);
        let (pushed, traffic) = syncline_sync::push(self.replica, transport, &ask, &mut Told::new(self.progress))?;
        self.report.cost.add(traffic);
        self.report.commits += pushed.commits;
        self.report.objects += pushed.objects;
        self.report.deltas += pushed.deltas;
        self.report.theirs = Some(target);
        let made: BTreeSet<String> = pushed.refs.into_iter().map(|step| step.name).collect();
        self.report.tags.note_pushed(tags, &made, &pushed.left);
        refs::update(self.replica.store(), |refs| {
            remember(refs, &self.request.url, &[(full.clone(), target)]);
            Ok(())
        })?;
        Ok(())
    }
}

/// Fetches what the peer has and merges its version of the current branch.
///
/// # Errors
/// The peer's and the transport's; those of `merge`. What was fetched stays.
pub fn pull(
    replica: &Replica,
    request: &Request,
    transport: &mut dyn Transport,
    progress: &dyn Progress,
) -> Result<Report> {
    let mut exchange = Exchange::begin(replica, request, progress)?;
    exchange.pull(transport)?;
    exchange.close()
}

/// Brings the contents that a partial replica without a working directory has to hold; with one, checking files out does.
fn bring(replica: &Replica, part: &Part, root: &DatasetRoot) -> Result<()> {
    if replica.worktree().is_none() {
        contents::bring_version(replica, part, root)?;
    }
    Ok(())
}

/// Takes the peer's version as the first one of a branch that has none here.
fn adopt(replica: &Replica, branch: &str, theirs: Hash, report: &mut Report) -> Result<()> {
    let before = DatasetRoot::default();
    let after = replica.root_of(&theirs)?;
    work::transition(replica, &before, &after, false, || {
        refs::update(replica.store(), |refs| {
            if refs.head != branch || refs.branches.contains_key(branch) || refs.has_staged() {
                let why = "changes were staged or committed here meanwhile; commit them and run it again";
                return Ok(Err(Error::conflict(format!("pulling branch {branch:?}"), why)));
            }
            let hlc = replica.stamp(refs, []);
            refs.move_branch(branch, Some(theirs), hlc, "pull");
            Ok(Ok(()))
        })?
    })?;
    report.merged = Some(Outcome::FastForward);
    report.changes = change::between(replica, &before, &after)?;
    Ok(())
}

/// Notes what a peer was seen to have; returns the peer's name here.
fn remember(refs: &mut syncline_tree::Refs, url: &str, seen: &[(String, Hash)]) -> String {
    let known = refs.remotes.iter().find(|(_, remote)| remote.url == url).map(|(name, _)| name.clone());
    let free = || {
        let taken = &refs.remotes;
        let numbered = (2..).map(|n| format!("peer{n}"));
        std::iter::once(ORIGIN.to_owned()).chain(numbered).find(|name| !taken.contains_key(name))
    };
    let name = known.or_else(free).unwrap_or_else(|| ORIGIN.to_owned());
    let remote = refs.remotes.entry(name.clone()).or_default();
    url.clone_into(&mut remote.url);
    for (full, id) in seen {
        if let Some(branch) = full.strip_prefix(BRANCHES) {
            remote.branches.insert(branch.to_owned(), *id);
        }
    }
    name
}

/// Sends the current branch to the peer and moves the peer's branch of that name; with `tags` all tags, too, and what they
/// need. A tag of the same name that is elsewhere there stays, and so does the one here: the report names both.
///
/// # Errors
/// `conflict` when the peer's branch has commits that are not here: pull first. Nothing is lost on either side.
pub fn push(
    replica: &Replica,
    request: &Request,
    transport: &mut dyn Transport,
    progress: &dyn Progress,
) -> Result<Report> {
    let mut exchange = Exchange::begin(replica, request, progress)?;
    let tags = if request.tags { exchange.tags_to_send(&replica.refs()?, |_| true)? } else { Vec::new() };
    exchange.push(transport, &tags)?;
    exchange.close()
}

/// How often `sync` starts again when the peer's branch moves under it.
const SYNC_TRIES: usize = 8;

/// Brings both sides to the same version and tags: pulls and merges, then pushes; again when the peer moved meanwhile.
/// `connect` is called once for each transfer.
///
/// # Errors
/// As `pull` and `push`. With conflicts nothing is pushed and the report counts them.
pub fn sync(
    replica: &Replica,
    request: &Request,
    connect: &mut dyn FnMut() -> Result<Box<dyn Transport>>,
    progress: &dyn Progress,
) -> Result<Report> {
    let mut exchange = Exchange::begin(replica, request, progress)?;
    let mut tries = 0;
    loop {
        tries += 1;
        exchange.pull(&mut *connect()?)?;
        let refs = replica.refs()?;
        let ours = refs.head_commit();
        let tags = exchange.tags_to_send(&refs, |name| !exchange.theirs.contains(name))?;
        let nothing_to_send = tags.is_empty() && ours == exchange.report.theirs;
        if exchange.report.conflicts > 0 || ours.is_none() || nothing_to_send {
            return exchange.close();
        }
        match exchange.push(&mut *connect()?, &tags) {
            Ok(()) => return exchange.close(),
            Err(error) if error.kind() == Kind::Conflict && tries < SYNC_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// Turns a session's running totals into steps of progress.
struct Told<'a> {
    progress: &'a dyn Progress,
    bytes: u64,
}

impl<'a> Told<'a> {
    fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, bytes: 0 }
    }
}

impl Watch for Told<'_> {
    fn progress(&mut self, _: u64, bytes: u64) {
        self.progress.advance(bytes.saturating_sub(self.bytes));
        self.bytes = bytes;
    }
}

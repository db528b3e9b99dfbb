//! A disk in memory that forgets what was not synced when its power is cut. No I/O, no clock: the caller says what time it is.
//!
//! What programs see, and what is on the platter. Of a file that is its contents, with the changes since the last sync of the file; of all
//! directories together their names, with what was done to them since a sync of the directory: a name is durable when its *directory* was synced,
//! whatever was synced of the file. A cut takes the platter, and of the changes that are not on it, of each file and of the names: none, all, the first
//! ones, or any; of contents in sectors of 512 bytes. What a rename does is done as a whole or not at all.
//!
//! Modes, owners and times are as last seen: nothing of ours counts on their being lost or kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use nix::errno::Errno;
use syncline_base::rng::Rng;

use super::content::Content;

/// What a disk writes as a whole or not at all.
const SECTOR: u64 = 512;
/// The number of its top directory.
pub(super) const ROOT: Number = 1;

/// A file or directory by its number.
pub(super) type Number = u64;
type Done<T> = Result<T, Errno>;

/// What a sync does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// What it has to.
    Kept,
    /// Of contents nothing, and it says that it did: a disk that lies. For trying whether that is found.
    Lie,
}

/// What a cut has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    /// Changes to names of files.
    pub(crate) names: u64,
    /// Changes to contents, as a whole.
    pub(crate) writes: u64,
    /// Writes of which a part is left.
    pub(crate) torn: u64,
}

/// What is to be made.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    File,
    Directory,
    Link(OsString),
}

/// What is known of a file or directory.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) number: Number,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) links: u32,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) changed: SystemTime,
}

#[derive(Debug)]
enum Body {
    File(Box<File>),
    Directory(Directory),
    Link(OsString),
}

#[derive(Debug, Default)]
struct File {
    seen: Content,
    platter: Content,
    /// What is not on the platter, in order.
    since: VecDeque<Change>,
    /// How many changes are.
    down: u64,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Debug, Default)]
struct Directory {
    seen: BTreeMap<OsString, Number>,
    platter: BTreeMap<OsString, Number>,
}

/// What one operation does to names: what each of these is then.
#[derive(Debug)]
struct Naming {
    nth: u64,
    sets: Vec<(Number, OsString, Option<Number>)>,
}

#[derive(Debug)]
struct Node {
    body: Body,
    mode: u32,
    owner: (u32, u32),
    changed: SystemTime,
    /// How many have it open.
    open: u64,
}

/// A disk.
#[derive(Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<Number, Node>,
    next: Number,
    /// What is not on the platter, in order.
    names: VecDeque<Naming>,
    namings: u64,
    syncs: Syncs,
    now: SystemTime,
    /// There may be more that nobody can reach once there are so many.
    sweep: usize,
}

/// What a cut leaves of the changes that are not on the platter.
enum Leaves {
    None,
    All,
    /// So many, and a part of the next.
    First(usize),
    Any,
}

impl Leaves {
    fn draw(changes: usize, rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self::None,
            1 => Self::All,
            2 => Self::First(usize::try_from(rng.below(changes as u64)).unwrap_or_default()),
            _ => Self::Any,
        }
    }

    fn leaves(&self, nth: usize, rng: &mut Rng) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::First(n) => nth < *n,
            Self::Any => rng.below(2) == 0,
        }
    }
}

impl Disk {
    /// An empty disk.
    pub(super) fn new() -> Self {
        let (now, open) = (SystemTime::UNIX_EPOCH, 0);
        let top = Node { body: Body::Directory(Directory::default()), mode: 0o755, owner: (0, 0), changed: now, open };
        let (nodes, syncs) = (BTreeMap::from([(ROOT, top)]), Syncs::Kept);
        Self { nodes, next: ROOT + 1, names: VecDeque::new(), namings: 0, syncs, now, sweep: 1024 }
    }

    /// It is this time from now on.
    pub(super) fn tell(&mut self, now: SystemTime) {
        self.now = now;
    }

    /// Its syncs do this from now on.
    pub(super) fn set_syncs(&mut self, syncs: Syncs) {
        self.syncs = syncs;
    }

    /// Whom a name in a directory names.
    pub(super) fn find(&self, directory: Number, name: &OsStr) -> Done<Number> {
        self.directory(directory)?.seen.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// What is in a directory.
    pub(super) fn list(&self, directory: Number) -> Done<Vec<(OsString, Facts)>> {
        let seen = &self.directory(directory)?.seen;
        seen.iter().map(|(name, number)| Ok((name.clone(), self.facts(*number)?))).collect()
    }

    /// What is known of it.
    pub(super) fn facts(&self, number: Number) -> Done<Facts> {
        let node = self.nodes.get(&number).ok_or(Errno::ENOENT)?;
        let (kind, size) = match &node.body {
            Body::File(file) => (Kind::File, file.seen.size()),
            Body::Directory(_) => (Kind::Directory, 0),
            Body::Link(to) => (Kind::Link(to.clone()), to.len() as u64),
        };
        let links = if matches!(kind, Kind::Directory) { 2 } else { self.names_of(number) };
        Ok(Facts { number, kind, size, links, mode: node.mode, owner: node.owner, changed: node.changed })
    }

    /// Makes something.
    pub(super) fn make(&mut self, at: (Number, &OsStr), kind: Kind, mode: u32, owner: (u32, u32)) -> Done<Number> {
        self.is_free(at)?;
        let body = match kind {
            Kind::File => Body::File(Box::default()),
            Kind::Directory => Body::Directory(Directory::default()),
            Kind::Link(to) => Body::Link(to),
        };
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, Node { body, mode, owner, changed: self.now, open: 0 });
        self.name(vec![(at.0, at.1.to_owned(), Some(number))]);
        Ok(number)
    }

    /// Gives a file one more name.
    pub(super) fn link(&mut self, number: Number, at: (Number, &OsStr)) -> Done<()> {
        self.is_free(at)?;
        self.name(vec![(at.0, at.1.to_owned(), Some(number))]);
        Ok(())
    }

    /// Removes a name; that of a directory only when it is asked for, and the directory is empty.
    pub(super) fn remove(&mut self, at: (Number, &OsStr), directory: bool) -> Done<()> {
        let number = self.find(at.0, at.1)?;
        match (self.directory(number), directory) {
            (Ok(inside), true) if inside.seen.is_empty() => {}
            (Ok(_), true) => return Err(Errno::ENOTEMPTY),
            (Ok(_), false) => return Err(Errno::EISDIR),
            (Err(_), true) => return Err(Errno::ENOTDIR),
            (Err(_), false) => {}
        }
        self.name(vec![(at.0, at.1.to_owned(), None)]);
        Ok(())
    }

    /// Gives it another name, in place of what has that one, if it may.
    pub(super) fn rename(&mut self, from: (Number, &OsStr), to: (Number, &OsStr), replace: bool) -> Done<()> {
        let number = self.find(from.0, from.1)?;
        match self.find(to.0, to.1) {
            Ok(_) if !replace => return Err(Errno::EEXIST),
            Ok(other) if other == number => return Ok(()),
            Ok(other) => match (self.directory(number).is_ok(), self.directory(other)) {
                (true, Ok(inside)) if !inside.seen.is_empty() => return Err(Errno::ENOTEMPTY),
                (true, Ok(_)) | (false, Err(_)) => {}
                (true, Err(_)) => return Err(Errno::ENOTDIR),
                (false, Ok(_)) => return Err(Errno::EISDIR),
            },
            Err(_) => _ = self.directory(to.0)?,
        }
        self.name(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(number))]);
        Ok(())
    }

    /// Somebody opens it.
    pub(super) fn open(&mut self, number: Number) -> Done<()> {
        self.node(number)?.open += 1;
        Ok(())
    }

    /// Somebody has closed it.
    pub(super) fn close(&mut self, number: Number) {
        if let Ok(node) = self.node(number) {
            node.open = node.open.saturating_sub(1);
        }
    }

    pub(super) fn read(&self, number: Number, at: u64, length: usize) -> Done<Vec<u8>> {
        match &self.nodes.get(&number).ok_or(Errno::ENOENT)?.body {
            Body::File(file) => Ok(file.seen.read(at, length)),
            Body::Directory(_) | Body::Link(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn write(&mut self, number: Number, at: u64, bytes: &[u8]) -> Done<()> {
        self.file(number)?.change(Change::Write(at, bytes.to_vec()));
        Ok(())
    }

    pub(super) fn resize(&mut self, number: Number, size: u64) -> Done<()> {
        self.file(number)?.change(Change::Resize(size));
        Ok(())
    }

    /// Sets its mode and the time of its last change, if given.
    pub(super) fn set(&mut self, number: Number, mode: Option<u32>, changed: Option<SystemTime>) -> Done<()> {
        let node = self.node(number)?;
        node.mode = mode.unwrap_or(node.mode);
        node.changed = changed.unwrap_or(node.changed);
        Ok(())
    }

    /// What has been done to it up to now, for [`Self::sync`].
    pub(super) fn so_far(&self, number: Number) -> Done<u64> {
        Ok(match &self.nodes.get(&number).ok_or(Errno::ENOENT)?.body {
            Body::File(file) => file.down + file.since.len() as u64,
            Body::Directory(_) | Body::Link(_) => self.namings,
        })
    }

    /// Puts on the platter what had been done to it up to then: contents of a file, names in a directory.
    pub(super) fn sync(&mut self, number: Number, so_far: u64) -> Done<()> {
        let lies = self.syncs == Syncs::Lie;
        match &mut self.node(number)?.body {
            Body::File(_) if lies => {}
            Body::File(file) => file.put_down(so_far),
            Body::Directory(_) => self.put_down(number, so_far),
            Body::Link(_) => {}
        }
        Ok(())
    }

    /// The power is cut, and comes back.
    pub(super) fn cut(&mut self, rng: &mut Rng) -> Lost {
        let mut lost = Lost::default();
        let names = std::mem::take(&mut self.names);
        let leaves = Leaves::draw(names.len(), rng);
        for (nth, naming) in names.into_iter().enumerate() {
            if leaves.leaves(nth, rng) {
                self.settle(naming);
            } else {
                lost.names += 1;
            }
        }
        for node in self.nodes.values_mut() {
            node.open = 0;
            match &mut node.body {
                Body::File(file) => file.cut(rng, &mut lost),
                Body::Directory(directory) => directory.seen = directory.platter.clone(),
                Body::Link(_) => {}
            }
        }
        self.forget_unreachable();
        lost
    }

    fn node(&mut self, number: Number) -> Done<&mut Node> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    fn file(&mut self, number: Number) -> Done<&mut File> {
        let now = self.now;
        let node = self.node(number)?;
        node.changed = now;
        match &mut node.body {
            Body::File(file) => Ok(file),
            Body::Directory(_) | Body::Link(_) => Err(Errno::EISDIR),
        }
    }

    fn directory(&self, number: Number) -> Done<&Directory> {
        match &self.nodes.get(&number).ok_or(Errno::ENOENT)?.body {
            Body::Directory(directory) => Ok(directory),
            Body::File(_) | Body::Link(_) => Err(Errno::ENOTDIR),
        }
    }

    fn is_free(&self, at: (Number, &OsStr)) -> Done<()> {
        match self.find(at.0, at.1) {
            Ok(_) => Err(Errno::EEXIST),
            Err(Errno::ENOENT) if self.nodes.contains_key(&at.0) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn names_of(&self, number: Number) -> u32 {
        let directories = self.nodes.values().filter_map(|node| match &node.body {
            Body::Directory(directory) => Some(directory.seen.values()),
            Body::File(_) | Body::Link(_) => None,
        });
        u32::try_from(directories.flatten().filter(|one| **one == number).count()).unwrap_or(u32::MAX)
    }

    /// Does something to names: at once for programs, later for the platter.
    fn name(&mut self, sets: Vec<(Number, OsString, Option<Number>)>) {
        let now = self.now;
        for (directory, name, number) in &sets {
            if let Some(node) = self.nodes.get_mut(directory)
                && let Body::Directory(directory) = &mut node.body
            {
                set(&mut directory.seen, name, *number);
                node.changed = now;
            }
        }
        self.names.push_back(Naming { nth: self.namings, sets });
        self.namings += 1;
        if self.nodes.len() > self.sweep {
            self.forget_unreachable();
            self.sweep = 2 * self.nodes.len();
        }
    }

    /// Puts on the platter what was done to the names of a directory; with it, of other directories, what was done before there, so that nothing is
    /// at two places where it never was.
    fn put_down(&mut self, directory: Number, so_far: u64) {
        let mut touched = BTreeSet::from([directory]);
        let mut chosen = BTreeSet::new();
        for naming in self.names.iter().rev().filter(|naming| naming.nth < so_far) {
            if naming.sets.iter().any(|(directory, ..)| touched.contains(directory)) {
                chosen.insert(naming.nth);
                touched.extend(naming.sets.iter().map(|(directory, ..)| *directory));
            }
        }
        for naming in std::mem::take(&mut self.names) {
            if chosen.contains(&naming.nth) {
                self.settle(naming);
            } else {
                self.names.push_back(naming);
            }
        }
    }

    fn settle(&mut self, naming: Naming) {
        for (directory, name, number) in naming.sets {
            if let Some(Node { body: Body::Directory(directory), .. }) = self.nodes.get_mut(&directory) {
                set(&mut directory.platter, &name, number);
            }
        }
    }

    /// Forgets what nobody can come to: not by a name, not after a cut, and not by having it open.
    fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open: Vec<Number> = vec![ROOT];
        open.extend(self.nodes.iter().filter(|(_, node)| node.open > 0).map(|(number, _)| *number));
        open.extend(
            self.names.iter().flat_map(|naming| &naming.sets).flat_map(|(from, _, to)| [Some(*from), *to]).flatten(),
        );
        while let Some(number) = open.pop() {
            reached.insert(number);
            if let Ok(directory) = self.directory(number) {
                let inside = directory.seen.values().chain(directory.platter.values());
                open.extend(inside.filter(|number| !reached.contains(number)));
            }
        }
        self.nodes.retain(|number, _| reached.contains(number));
    }
}

fn set(names: &mut BTreeMap<OsString, Number>, name: &OsStr, number: Option<Number>) {
    match number {
        Some(number) => _ = names.insert(name.to_owned(), number),
        None => _ = names.remove(name),
    }
}

impl File {
    fn change(&mut self, change: Change) {
        change.make(&mut self.seen);
        self.since.push_back(change);
    }

    fn put_down(&mut self, so_far: u64) {
        while self.down < so_far
            && let Some(change) = self.since.pop_front()
        {
            change.make(&mut self.platter);
            self.down += 1;
        }
    }

    fn cut(&mut self, rng: &mut Rng, lost: &mut Lost) {
        let leaves = Leaves::draw(self.since.len(), rng);
        let size = self.seen.size();
        for (nth, change) in std::mem::take(&mut self.since).into_iter().enumerate() {
            let left = match (&leaves, &change) {
                (Leaves::Any, Change::Write(at, bytes)) => {
                    write_some(&mut self.platter, *at, bytes, |_| rng.below(2) == 0)
                }
                (Leaves::First(n), Change::Write(at, bytes)) if nth == *n => {
                    let sectors = rng.below(bytes.len() as u64 / SECTOR + 2);
                    write_some(&mut self.platter, *at, bytes, |sector| sector < sectors)
                }
                _ if leaves.leaves(nth, rng) => {
                    change.make(&mut self.platter);
                    (1, 0)
                }
                _ => (0, 1),
            };
            lost.writes += u64::from(left.0 == 0 && left.1 > 0);
            lost.torn += u64::from(left.0 > 0 && left.1 > 0);
        }
        // The length may be there, and what was written not.
        if matches!(leaves, Leaves::Any) && rng.below(2) == 0 {
            self.platter.resize(size);
        }
        self.down = 0;
        self.seen = self.platter.clone();
    }
}

/// Writes some sectors of it. How many that were, and how many are lost.
fn write_some(to: &mut Content, at: u64, bytes: &[u8], mut left: impl FnMut(u64) -> bool) -> (u64, u64) {
    let (mut done, mut counts, mut sector) = (0, (0, 0), 0);
    while done < bytes.len() {
        let place = at + done as u64;
        let next = bytes.len().min(done + usize::try_from(SECTOR - place % SECTOR).unwrap_or(1));
        if left(sector) {
            to.write(place, &bytes[done..next]);
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
        (done, sector) = (next, sector + 1);
    }
    counts
}

impl Change {
    fn make(&self, content: &mut Content) {
        match self {
            Self::Write(at, bytes) => content.write(*at, bytes),
            Self::Resize(size) => content.resize(*size),
        }
    }
}

#[cfg(test)]
mod tests;

//! `verify`: check that what is stored is what it claims to be, and say what any damage touches.

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind, hash::IdSet};
use syncline_store::store::Finding;
use syncline_tree::{Commit, Conflicts, DatasetRoot, Gap, GivenUp, Log, Refs, TreeName};

use crate::part::Part;
use crate::progress::{self, Progress, Unit};
use crate::reach::{Named, Walked};
use crate::replica::Replica;
use crate::{Result, contents, reach};

/// What `verify` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Whether to decode and hash every byte again, not only the structure.
    #[serde(default)]
    pub deep: bool,
}

/// Damage that touches a tree in a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Touched {
    /// The commit; zero for work that is not committed.
    pub commit: Hash,
    /// Names that point at it; `what is staged` for work that is not committed.
    pub names: Vec<String>,
    /// The tree; absent when the commit itself or its root record is damaged.
    pub tree: Option<TreeName>,
    /// The damaged or missing object.
    pub object: Hash,
    /// Which rows or files: a key range or a path as text, as far as it is known.
    pub rows: String,
}

/// A damaged place in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Damage {
    /// The file of the store.
    pub file: String,
    /// The objects in it that cannot be read.
    pub objects: Vec<Hash>,
    /// What is wrong.
    pub reason: String,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Whether there is no damage at all, and every version is whole.
    pub sound: bool,
    /// Whether every byte was read.
    pub deep: bool,
    /// The content root of the current branch.
    pub root: Option<Hash>,
    /// Versions that were walked.
    pub versions: u64,
    /// Older versions whose data `gc` was told to give up: there is nothing to check.
    #[serde(default)]
    pub dropped: u64,
    /// Objects that were checked in the store.
    pub objects: u64,
    /// Bytes that were checked in the store.
    pub bytes: u64,
    /// Damaged places.
    pub damage: Vec<Damage>,
    /// Contents of files that this replica leaves elsewhere: no damage.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub absent: u64,
    /// What the damage touches.
    pub touched: Vec<Touched>,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// Whether nothing says which versions there are: the head is damaged or gone.
    #[must_use]
    pub fn lacks_head(&self) -> bool {
        self.damage.iter().any(|damage| damage.file == HEAD)
    }
}

/// The file of the store that says which versions there are.
const HEAD: &str = "head";
/// Stands among the names of what is damaged and in no version yet.
const STAGED: &str = "what is staged";

/// At most so many touched places are listed: a lost disk would list millions.
const TOUCHED_MAX: usize = 1_000;

/// Checks the store and every version of the dataset. Damage is reported, not an error.
///
/// # Errors
/// The store's, when it cannot be read at all.
pub fn run(replica: &Replica, request: &Request, progress: &dyn Progress) -> Result<Report> {
    let started = replica.clock().monotonic();
    let store = replica.store();
    let mut report = Report { deep: request.deep, ..Report::default() };
    progress.stage("checking stored objects", 0, Unit::Objects);
    let mut damaged = IdSet::default();
    let checked = store.verify(request.deep, &mut |finding: Finding| {
        damaged.extend(finding.ids.iter().copied());
        report.damage.push(Damage { file: finding.file, objects: finding.ids, reason: finding.reason });
    })?;
    report.objects = checked.objects;
    report.bytes = checked.bytes;
    progress.stage("walking versions", 0, Unit::Objects);
    match replica.refs() {
        // Nothing says which versions there are.
        Err(error) if error.kind() == Kind::Corrupt => {
            if !report.lacks_head() {
                report.damage.push(Damage { file: HEAD.to_owned(), objects: Vec::new(), reason: error.to_string() });
            }
        }
        _ => walk_versions(replica, &damaged, &IdSet::default(), progress, &mut report)?,
    }
    // What was not read any more looks like damage.
    progress::go_on(progress, "verifying")?;
    report.sound = report.touched.is_empty() && report.damage.is_empty();
    report.seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(report)
}

/// What damage touches now that only these objects are known to be damaged, but for what is in `known`. Reads versions and
/// inner nodes, and nothing that is stored besides.
pub(crate) fn touched_by(
    replica: &Replica,
    damaged: &IdSet,
    known: &IdSet,
    progress: &dyn Progress,
) -> Result<Vec<Touched>> {
    let mut report = Report::default();
    progress.stage("walking versions", 0, Unit::Objects);
    walk_versions(replica, damaged, known, progress, &mut report)?;
    progress::go_on(progress, "verifying")?;
    Ok(report.touched)
}

/// Walks every tree of every version once and lists what is damaged or missing, but for what is in `known`.
fn walk_versions(
    replica: &Replica,
    damaged: &IdSet,
    known: &IdSet,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<()> {
    let store = replica.store();
    let refs = replica.refs()?;
    report.root = replica.head_root(&refs).ok().map(|root| root.hash());
    let tips: Vec<Hash> = refs.branches.values().chain(refs.tags.values()).copied().collect();
    let given_up = GivenUp::of_what_can_be_read(store, &refs)?.all()?;
    let mut walk = Walk { replica, refs: &refs, part: replica.part()?, damaged, known, walked: Walked::default() };
    let mut log = Log::of_refs(store, &refs);
    loop {
        let step = log.next();
        for gap in log.take_gaps() {
            walk.gap(&gap, report);
        }
        let Some(step) = step else { break };
        let (id, commit) = step?;
        progress::go_on(progress, "verifying")?;
        if given_up.contains(&id) && !tips.contains(&id) {
            report.dropped += 1;
            continue;
        }
        report.versions += 1;
        walk.version(id, &commit, report);
        progress.advance(1);
        if report.touched.len() >= TOUCHED_MAX {
            break;
        }
    }
    walk.work(report);
    report.absent = walk.walked.absent.len() as u64;
    if walk.part.is_outline() && !walk.walked.absent.is_empty() && walk.part.tree(&TreeName::Files) {
        walk.look_for_held(report)?;
    }
    Ok(())
}

/// A walk over versions.
struct Walk<'a> {
    replica: &'a Replica,
    refs: &'a Refs,
    part: Part,
    damaged: &'a IdSet,
    /// What need not be listed.
    known: &'a IdSet,
    walked: Walked,
}

impl Walk<'_> {
    fn list(&self, report: &mut Report, touched: Touched) {
        list(self.known, &mut report.touched, touched);
    }

    /// Lists a version that cannot be read itself.
    fn gap(&self, gap: &Gap, report: &mut Report) {
        let why = match gap.why.kind() {
            Kind::NotFound => "its record is missing, and with it what came before it".to_owned(),
            _ => format!("its record cannot be read, and with it what came before it: {}", gap.why),
        };
        self.list(report, touched(self.refs, gap.id, None, gap.id, &why));
    }

    /// Lists what is damaged or missing in a version.
    fn version(&mut self, id: Hash, commit: &Commit, report: &mut Report) {
        let (store, refs) = (self.replica.store(), self.refs);
        let root = match DatasetRoot::load(store, &commit.root) {
            Ok(root) => root,
            Err(error) => {
                self.list(report, touched(refs, id, None, commit.root, &error.to_string()));
                return;
            }
        };
        for (name, table) in root.trees().filter(|(name, _)| self.part.tree(name)) {
            let tree = Named { by: commit.root, roots: self.part.roots(&name, table), rows: table.rows };
            reach::damage(store, tree, self.damaged, &mut self.walked, &mut |object, rows| {
                list(self.known, &mut report.touched, touched(refs, id, Some(name.clone()), object, rows));
            });
        }
    }

    /// Lists what is damaged or missing in work that is in no version yet: what is staged, the conflicts of a merge that waits.
    fn work(&mut self, report: &mut Report) {
        let (store, refs) = (self.replica.store(), self.refs);
        let staged = |tree, object, rows: &str| {
            let names = vec![STAGED.to_owned()];
            Touched { commit: Hash::ZERO, names, tree, object, rows: rows.to_owned() }
        };
        if let Some(root_id) = refs.staged {
            match DatasetRoot::load(store, &root_id) {
                Ok(root) => {
                    for (name, table) in root.trees().filter(|(name, _)| self.part.tree(name)) {
                        let tree = Named { by: root_id, roots: self.part.roots(&name, table), rows: table.rows };
                        reach::damage(store, tree, self.damaged, &mut self.walked, &mut |object, rows| {
                            list(self.known, &mut report.touched, staged(Some(name.clone()), object, rows));
                        });
                    }
                }
                Err(error) => self.list(report, staged(None, root_id, &error.to_string())),
            }
        }
        if let Some(merging) = &refs.merging
            && let Err(error) = Conflicts::load(store, &merging.conflicts)
        {
            self.list(report, staged(None, merging.conflicts, &error.to_string()));
        }
    }

    /// Lists the files of the current version that a partial replica has to hold and does not.
    fn look_for_held(&self, report: &mut Report) -> Result<()> {
        let Some(head) = self.refs.head_commit() else { return Ok(()) };
        let looked = self.replica.root_of(&head).and_then(|root| {
            contents::files_of(self.replica, &root, &mut |group| {
                for (path, content) in group {
                    if self.walked.absent.contains(&content.root) && self.part.path(&path) {
                        self.list(report, touched(self.refs, head, Some(TreeName::Files), content.root, &path));
                    }
                }
                Ok(())
            })
        });
        // What keeps the files from being listed is listed itself already.
        if report.touched.is_empty() && self.known.is_empty() { looked } else { Ok(()) }
    }
}

fn list(known: &IdSet, places: &mut Vec<Touched>, touched: Touched) {
    if places.len() < TOUCHED_MAX && !known.contains(&touched.object) {
        places.push(touched);
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn touched(refs: &Refs, commit: Hash, tree: Option<TreeName>, object: Hash, rows: &str) -> Touched {
    let named = refs.branches.iter().chain(&refs.tags).filter(|(_, at)| **at == commit);
    Touched { commit, names: named.map(|(name, _)| name.clone()).collect(), tree, object, rows: rows.to_owned() }
}

//! One operation that is killed again and again, each time from the same start, and what has to hold afterwards.
//!
//! Once it runs undisturbed: that says what its end looks like. Then, for every kill: each replica is sound to the last
//! byte and holds the version before or the version after, never anything else; the same command run again ends well,
//! with the same root, the same files and nothing left in the way; what had landed does not travel again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock, Hash, SystemClock};

use super::cases::{Case, Victim};
use super::victim::{self, Kill};
use crate::support::{Dir, Run, Server, binary};

/// Bytes of a transfer that are not objects, at most.
const OVERHEAD: u64 = 1 << 20;
/// A receiver makes what it got durable whenever so many bytes have come.
const LANDS: u64 = 32 << 20;

/// What was seen.
#[derive(Default)]
pub(super) struct Tally {
    pub kills: u32,
    /// How often the version before was found, and the version after.
    found: [u32; 2],
    /// How often a part had landed, and the bytes that did not travel again.
    resumed: u32,
    saved: u64,
}

/// What the operation comes to when nobody disturbs it.
struct End {
    before: Option<String>,
    after: Option<String>,
    files: BTreeMap<PathBuf, Hash>,
    bytes: u64,
}

/// An operation and the directory that it starts from.
pub(super) struct Scene<'a> {
    pub case: Case,
    pub tally: Tally,
    dir: &'a Dir,
    template: PathBuf,
    end: End,
    usual: Duration,
}

impl<'a> Scene<'a> {
    pub(super) fn new(case: Case, dir: &'a Dir) -> Self {
        let made = Dir::new();
        (case.make)(&made);
        let template = dir.path("template");
        copy(&made.path(""), &template);
        let end = End { before: None, after: None, files: BTreeMap::new(), bytes: 0 };
        let mut scene = Self { case, tally: Tally::default(), dir, template, end, usual: Duration::ZERO };
        let stage = scene.stage();
        scene.end.before = stage.root(scene.case.changes);
        let start = SystemClock.monotonic();
        let done = stage.command(scene.case.words).ok();
        scene.usual = SystemClock.monotonic() - start;
        scene.end.bytes = bytes(&done);
        scene.end.after = stage.root(scene.case.changes);
        scene.end.files = stage.files(scene.case.changes);
        assert!(scene.end.after.is_some(), "{}: it makes no version", scene.case.name);
        scene
    }

    /// A fresh copy of the start, with its node.
    fn stage(&self) -> Stage {
        let place = self.dir.path("run");
        if place.exists() {
            std::fs::remove_dir_all(&place).expect("it is ours");
        }
        copy(&self.template, &place);
        let node = self.case.node().then(|| Server::start(&place.join("hub"), &[]));
        let url = node.as_ref().map(|node| node.url.clone()).unwrap_or_default();
        Stage { place, node, url }
    }

    /// Kills it once and looks at what is left.
    pub(super) fn run(&mut self, rng: &mut Rng, label: &str) {
        let mut stage = self.stage();
        let moment = victim::moment(rng, self.usual);
        let label = format!("{label}, after {moment:?}");
        let command = stage.build(self.case.words);
        let kill = match (self.case.victim, &mut stage.node) {
            (Victim::Node, node) => {
                let node = node.take().expect("the case has a node");
                victim::kill_node(command, node, &moment, &mut self.usual)
            }
            (Victim::Client, _) => victim::kill_client(command, &moment, &mut self.usual),
        };
        match kill {
            Kill::Late => return,
            Kill::Done(code) => {
                assert!(matches!(code, None | Some(0 | 6)), "{label}: the client ended with {code:?}");
            }
        }
        self.tally.kills += 1;
        let found = self.look(&stage, &label);
        if self.case.victim == Victim::Node {
            stage.node = Some(Server::again(&stage.place.join("hub"), &stage.url));
        }
        self.retry(&stage, found.as_ref(), &label);
    }

    /// What was found has to be whole, and either old or new.
    fn look(&mut self, stage: &Stage, label: &str) -> Option<String> {
        for name in self.case.keeps.iter().chain([&self.case.changes]) {
            stage.sound(name, label);
        }
        let found = stage.root(self.case.changes);
        let at = [&self.end.before, &self.end.after].into_iter().position(|root| *root == found);
        self.tally.found[at.unwrap_or_else(|| panic!("{label}: {found:?} is neither the old nor the new root"))] += 1;
        found
    }

    fn retry(&mut self, stage: &Stage, found: Option<&String>, label: &str) {
        let landed = stage.landed(self.case.changes);
        let again = stage.command(self.case.words);
        // A clone that had been completed says that it is there.
        let there = self.case.words.contains(&"clone") && found == self.end.after.as_ref();
        assert!(
            again.code == Some(0) || there && again.code == Some(4),
            "{label}: run again it ended with {:?}\n{}{}",
            again.code,
            again.stdout,
            again.stderr
        );
        assert_eq!(stage.root(self.case.changes), self.end.after, "{label}: another root");
        assert!(stage.files(self.case.changes) == self.end.files, "{label}: other files");
        stage.sound(self.case.changes, label);
        let note = stage.place.join(self.case.changes).join(".syncline/checkout.json");
        assert!(!note.exists(), "{label}: a checkout is still open");
        if self.case.large && landed >= LANDS && again.code == Some(0) {
            let (sent, full) = (bytes(&again), self.end.bytes);
            assert!(
                sent + landed * 9 / 10 <= full + OVERHEAD,
                "{label}: {landed} bytes had landed, and {sent} of {full} passed again"
            );
            self.tally.resumed += 1;
            self.tally.saved += full.saturating_sub(sent);
        }
    }

    pub(super) fn summary(&self) -> String {
        let Tally { kills, found: [old, new], resumed, saved } = self.tally;
        let name = self.case.name;
        let mut line = format!("kills: {name:<26} {kills:>3} kills, found old {old:>3}, new {new:>3}");
        if self.case.large {
            line += &format!(
                ", {resumed} resumed, {} MB of {resumed} x {} MB not sent again",
                saved >> 20,
                self.end.bytes >> 20
            );
        }
        line
    }

    /// Late kills have to have happened, or nothing was learnt about them.
    pub(super) fn assert_resumed(&self) {
        assert!(!self.case.large || self.tally.resumed > 0, "{}: no kill came late enough", self.case.name);
    }
}

/// A copy of the start in which the operation runs.
struct Stage {
    place: PathBuf,
    node: Option<Server>,
    url: String,
}

impl Stage {
    fn build(&self, words: &[&str]) -> Command {
        let url = format!("{}/d", self.url);
        let mut command = binary();
        command.current_dir(&self.place).arg("--json");
        command.args(words.iter().map(|word| if *word == "{url}" { url.as_str() } else { word }));
        command
    }

    fn command(&self, words: &[&str]) -> Run {
        Run::of(self.build(words))
    }

    /// The root of a replica's current version; absent when it has none or is not there.
    fn root(&self, name: &str) -> Option<String> {
        let run = self.command(&["-C", name, "root"]);
        match run.code {
            Some(3) => None,
            _ => Some(run.ok().json()["root"].as_str().expect("a root").to_owned()),
        }
    }

    fn sound(&self, name: &str, label: &str) {
        let place = self.place.join(name);
        if !place.join("replica.json").exists() && !place.join(".syncline/replica.json").exists() {
            return;
        }
        let run = self.command(&["-C", name, "verify", "--deep"]);
        assert_eq!(run.code, Some(0), "{label}: {name} is damaged\n{}{}", run.stdout, run.stderr);
    }

    /// The files of a working directory, with what they hold.
    fn files(&self, name: &str) -> BTreeMap<PathBuf, Hash> {
        let mut found = BTreeMap::new();
        if self.place.join(name).join(".syncline").exists() {
            walk(&self.place.join(name), &mut |path| {
                found.insert(path.to_owned(), Hash::of(&std::fs::read(path).expect("a file")));
            });
        }
        found
    }

    /// How many bytes of objects a replica has that nothing can take back.
    fn landed(&self, name: &str) -> u64 {
        let place = self.place.join(name);
        let nested = place.join(".syncline");
        let meta = if nested.exists() { nested } else { place };
        let mut bytes = 0;
        for folder in ["packs", "journal"] {
            walk(&meta.join("store").join(folder), &mut |path| {
                bytes += path.metadata().expect("a file").len();
            });
        }
        bytes
    }
}

/// What passed, of a transfer's report.
fn bytes(run: &Run) -> u64 {
    let report = run.json();
    let member = |name: &str| report[name].as_u64().unwrap_or(0);
    member("bytes_sent") + member("bytes_received")
}

fn walk(dir: &Path, each: &mut dyn FnMut(&Path)) {
    let Ok(entries) = dir.read_dir() else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != ".syncline") {
            walk(&path, each);
        } else if path.is_file() {
            each(&path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directories can be made");
    for entry in from.read_dir().expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the disk has room");
        }
    }
}

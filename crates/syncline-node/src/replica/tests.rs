//! Verbs on a replica whose disk fails: one call of the store at a time, in every way that disks and networks have.
//!
//! Whatever call it is: the verb ends well or with an error of the right kind that says what to do it to; what others
//! see is the old version or the new one, sound to the last byte; and the same verb run again, by the same process
//! where it lives on, ends with the root that it has without the fault.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use syncline_base::rng::Rng;
use syncline_store::backend::wrap::{Call, Fault, Faults, Op};

use super::*;
use crate::import::{Input, Mode};
use crate::loopback;
use crate::ops::{checkout, commit, gc, import, init, merge, transfer, verify};
use crate::progress::{Progress, Silent};

fn long() -> bool {
    std::env::var_os("SYNCLINE_LONG").is_some()
}

fn env() -> Env {
    Env { author: "ann".into(), ..Env::default() }
}

fn csv(rows: std::ops::Range<u32>, salt: &str) -> String {
    rows.fold("id,name\n".to_owned(), |text, id| text + &format!("{id},{salt} {}\n", id.wrapping_mul(2_654_435_761)))
}

fn import_text(replica: &Replica, text: String) -> Result<()> {
    let request = import::Request {
        table: "t".into(),
        key: vec!["id".into()],
        mode: Mode::Upsert,
        message: Some("rows".into()),
        ..import::Request::default()
    };
    let input = Input::Reader { name: "rows.csv".into(), reader: Box::new(std::io::Cursor::new(text)) };
    let silent: Arc<dyn Progress> = Arc::new(Silent);
    import::run(replica, &request, vec![input], &silent).map(drop)
}

fn commit_files(replica: &Replica) -> Result<()> {
    let request = commit::Request { message: "files".into(), ..commit::Request::default() };
    commit::run(replica, &request, &Silent).map(drop)
}

fn open(dir: &Path) -> Replica {
    Replica::open(&Location::Path(dir.to_owned()), env()).expect("it is a replica")
}

/// The replica in `dir`, on a disk with faults.
fn on_faults(dir: &Path, plan: impl FnMut(&Call<'_>) -> Fault + Send + 'static) -> Result<Replica> {
    let meta = if dir.join(META_DIR).exists() { dir.join(META_DIR) } else { dir.to_owned() };
    let faults: Arc<dyn Backend> = Arc::new(Faults::new(directory(&meta.join("store"))?, plan));
    let store = syncline_tree::open_store(faults, false, env().clock)?;
    let worktree = dir.join(META_DIR).exists().then(|| dir.to_owned());
    Ok(Replica {
        store,
        worktree,
        meta: Some(meta),
        env: env(),
        hlc: Arc::default(),
        brought: Arc::default(),
        live: Arc::default(),
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in from.read_dir().expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file");
        }
    }
}

/// A verb, what it starts from, and which replica's disk fails: the verb's own, or that of the peer it talks to.
struct Case {
    name: &'static str,
    /// Done to `one`, which has been given a peer `two` with the first version of everything.
    before: fn(&Path),
    /// The verb on the replica with faults; the other directory is whole.
    run: fn(Replica, &Path) -> Result<Replica>,
    faulty: &'static str,
}

fn start(dir: &Path) {
    let one = dir.join("one");
    init::run(&init::Request { dir: one.clone(), bare: false }, env()).expect("it is new");
    let replica = open(&one);
    import_text(&replica, csv(0..800, "x")).expect("rows");
    for number in 0..6 {
        std::fs::write(one.join(format!("file-{number}")), csv(0..100 * number, "f")).expect("a file");
    }
    commit_files(&replica).expect("files");
    clone(&one, &dir.join("two")).expect("it is new");
}

fn clone(from: &Path, to: &Path) -> Result<()> {
    let url = from.display().to_string();
    let request =
        transfer::CloneRequest { url, dir: to.to_owned(), bare: true, tables: None, depth: None, paths: None };
    transfer::clone(&request, env(), &mut *loopback::connect(open(from))?, &Silent).map(drop)
}

fn nothing(_: &Path) {}

fn edit_files(dir: &Path) {
    std::fs::write(dir.join("one/file-2"), csv(0..300, "new")).expect("a file");
    std::fs::write(dir.join("one/large"), csv(0..20_000, "large")).expect("a file");
}

fn another_version(dir: &Path) {
    edit_files(dir);
    let one = open(&dir.join("one"));
    import_text(&one, csv(700..1_500, "y")).expect("rows");
    commit_files(&one).expect("files");
}

fn two_branches(dir: &Path) {
    another_version(dir);
    let one = open(&dir.join("one"));
    syncline_tree::refs::update(one.store(), |refs| {
        let hlc = one.stamp(refs, []);
        let first = refs.history.front().and_then(|step| step.to);
        refs.move_branch("side", first, hlc, "branch");
        Ok(())
    })
    .expect("a branch");
    let to = |name: &str| checkout::Request { name: name.into(), force: false };
    checkout::run(&one, &to("side")).expect("a branch");
    import_text(&one, csv(0..40, "z")).expect("rows");
    checkout::run(&one, &to("main")).expect("a branch");
}

fn transfer_request() -> transfer::Request {
    transfer::Request { url: "peer".into(), ..transfer::Request::default() }
}

/// The replica with faults pushes to, or is pushed to by, the other one.
fn push(from: &Replica, to: Replica) -> Result<()> {
    transfer::push(from, &transfer_request(), &mut *loopback::connect(to)?, &Silent).map(drop)
}

const CASES: &[Case] = &[
    Case {
        name: "import",
        before: nothing,
        run: |replica, _| import_text(&replica, csv(600..2_000, "w")).map(|()| replica),
        faulty: "one",
    },
    Case {
        name: "commit",
        before: edit_files,
        run: |replica, _| commit_files(&replica).map(|()| replica),
        faulty: "one",
    },
    Case {
        name: "merge",
        before: two_branches,
        run: |replica, _| {
            let request = merge::Request { name: "side".into(), ..merge::Request::default() };
            merge::run(&replica, &request).map(|_| replica)
        },
        faulty: "one",
    },
    Case {
        name: "gc",
        before: another_version,
        run: |replica, _| {
            let request = gc::Request { keep_last: Some(1), grace_ms: 0, ..gc::Request::default() };
            gc::run(&replica, &request, &Silent).map(|_| replica)
        },
        faulty: "one",
    },
    Case {
        name: "push",
        before: another_version,
        run: |replica, other| push(&replica, open(other)).map(|()| replica),
        faulty: "one",
    },
    Case {
        name: "being pushed to",
        before: another_version,
        run: |replica, other| {
            // The session takes the replica with its faults; what it left is what counts.
            push(&open(other), replica)?;
            Ok(open(&other.with_file_name("two")))
        },
        faulty: "two",
    },
    Case {
        name: "pull",
        before: another_version,
        run: |replica, other| {
            let mut transport = loopback::connect(open(other))?;
            transfer::pull(&replica, &transfer_request(), &mut *transport, &Silent).map(|_| replica)
        },
        faulty: "two",
    },
];

/// Where a case runs, and what it comes to without faults.
struct Scene<'a> {
    case: &'a Case,
    dir: tempfile::TempDir,
    calls: u64,
    roots: [Hash; 2],
}

impl<'a> Scene<'a> {
    fn new(case: &'a Case) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        start(&dir.path().join("start"));
        (case.before)(&dir.path().join("start"));
        let mut scene = Self { case, dir, calls: 0, roots: [Hash::ZERO; 2] };
        let place = scene.fresh();
        scene.roots[0] = scene.root(&place);
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        let count = move |_: &Call<'_>| {
            counter.fetch_add(1, Ordering::Relaxed);
            Fault::None
        };
        scene.run(&place, count).expect("nothing fails");
        scene.calls = calls.load(Ordering::Relaxed);
        scene.roots[1] = scene.root(&place);
        assert!(scene.calls > 5, "{}: {} calls", case.name, scene.calls);
        scene
    }

    fn fresh(&self) -> PathBuf {
        let place = self.dir.path().join("run");
        if place.exists() {
            std::fs::remove_dir_all(&place).expect("it is ours");
        }
        copy(&self.dir.path().join("start"), &place);
        place
    }

    fn other(&self) -> &'static str {
        if self.case.faulty == "one" { "two" } else { "one" }
    }

    fn run(&self, place: &Path, plan: impl FnMut(&Call<'_>) -> Fault + Send + 'static) -> Result<()> {
        let replica = on_faults(&place.join(self.case.faulty), plan)?;
        (self.case.run)(replica, &place.join(self.other())).map(drop)
    }

    /// The root that the verb is about: the peer's for a push, else the replica's own.
    fn root(&self, place: &Path) -> Hash {
        let name = if self.case.name == "push" { "two" } else { self.case.faulty };
        let replica = open(&place.join(name));
        let refs = replica.refs().expect("refs");
        replica.root_of(&refs.head_commit().expect("a version")).expect("its root").hash()
    }

    /// Both replicas are whole, and the version is the old one or the new one.
    fn look(&self, place: &Path, label: &str) {
        for name in ["one", "two"] {
            let report = verify::run(&open(&place.join(name)), &verify::Request { deep: true }, &Silent);
            let report = report.unwrap_or_else(|error| panic!("{label}: {name} cannot be verified: {error}"));
            assert!(report.sound, "{label}: {name}: {report:?}");
        }
        let root = self.root(place);
        assert!(self.roots.contains(&root), "{label}: {root} is neither old nor new");
    }

    /// Runs with a fault at one call, looks at what is left, and runs again.
    fn check(&self, at: u64, fault: Fault) {
        let label = format!("{}, {fault:?} at call {at} of {}", self.case.name, self.calls);
        let place = self.fresh();
        let mut call = 0;
        let plan = move |_: &Call<'_>| {
            call += 1;
            if call == at + 1 { fault } else { Fault::None }
        };
        match self.run(&place, plan) {
            // What was hit was no more than a hint, or it could be tried again at once.
            Ok(()) => {}
            Err(error) => {
                let (kind, text) = (error.kind(), error.to_string());
                let expected: &[Kind] = match fault {
                    Fault::Flip(_) => &[Kind::Corrupt],
                    // A lost reply of the swap of the head looks like somebody else's move.
                    Fault::LostReply => &[Kind::Unavailable, Kind::Conflict],
                    Fault::Fail(kind) => &[kind],
                    _ => &[Kind::Unavailable],
                };
                assert!(expected.contains(&kind), "{label}: {kind}: {text}");
                assert!(text.len() > 20 && !text.contains("panicked"), "{label}: {text}");
            }
        }
        self.look(&place, &label);
        self.run(&place, |_| Fault::None).unwrap_or_else(|error| panic!("{label}: run again: {error}"));
        assert_eq!(self.root(&place), self.roots[1], "{label}: another root");
        self.look(&place, &label);
    }
}

/// Every fault at some calls of every verb; at all of them in the long version.
#[test]
fn a_call_that_fails_leaves_the_old_version_or_the_new_one() {
    let mut rng = Rng::from_seed(11);
    for case in CASES {
        let scene = Scene::new(case);
        for at in 0..scene.calls {
            let bits = rng.next_u64() >> 40;
            let faults = [
                Fault::LostReply,
                Fault::Fail(Kind::Unavailable),
                Fault::Short(bits % 300),
                Fault::Cut(bits % 300),
                Fault::Die,
                Fault::Flip(bits),
            ];
            for fault in faults {
                if long() || rng.below(scene.calls * 6) < 14 {
                    scene.check(at, fault);
                }
            }
        }
    }
}

/// The same process, whose disk was full for a while, goes on when there is room again.
#[test]
fn a_disk_that_was_full_for_a_while() {
    for case in CASES.iter().filter(|case| ["import", "commit", "merge"].contains(&case.name)) {
        let scene = Scene::new(case);
        let mut refused = 0;
        for from in (0..scene.calls).step_by(if long() { 1 } else { 4 }) {
            let place = scene.fresh();
            let full = Arc::new(std::sync::atomic::AtomicBool::new(true));
            let (mut call, room) = (0, Arc::clone(&full));
            let plan = move |made: &Call<'_>| {
                call += 1;
                let writes = matches!(made.op, Op::Write | Op::Publish);
                if call > from && writes && room.load(Ordering::Relaxed) { Fault::Short(7) } else { Fault::None }
            };
            let replica = on_faults(&place.join(case.faulty), plan).expect("nothing is written to open it");
            let before = replica.refs().expect("it can be read").head_commit();
            if let Err(failed) = (case.run)(replica.again(), &place) {
                assert_eq!(failed.kind(), Kind::Unavailable, "{}: {failed}", case.name);
                assert_eq!(replica.refs().expect("it can be read").head_commit(), before, "{}", case.name);
                refused += 1;
            }
            full.store(false, Ordering::Relaxed);
            (case.run)(replica, &place).unwrap_or_else(|error| panic!("{}, from {from}: {error}", case.name));
            assert_eq!(scene.root(&place), scene.roots[1], "{}, from {from}", case.name);
            scene.look(&place, &format!("{}, full from call {from}", case.name));
        }
        assert!(refused > 0, "{}: it writes nothing", case.name);
    }
}

/// A slow disk changes nothing but the time.
#[test]
fn a_slow_disk_is_only_slow() {
    for case in CASES {
        let scene = Scene::new(case);
        let place = scene.fresh();
        let slow = |_: &Call<'_>| {
            SystemClock.sleep(std::time::Duration::from_millis(2));
            Fault::None
        };
        scene.run(&place, slow).expect("slow is no fault");
        assert_eq!(scene.root(&place), scene.roots[1], "{}", case.name);
    }
}

impl Replica {
    /// The same store once more, as another thread of the process has it.
    fn again(&self) -> Self {
        let (store, env) = (self.store.clone(), self.env.clone());
        Self {
            store,
            worktree: self.worktree.clone(),
            meta: self.meta.clone(),
            env,
            hlc: Arc::default(),
            brought: Arc::default(),
            live: Arc::clone(&self.live),
        }
    }
}

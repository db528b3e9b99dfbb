//! `files-many` and `files-million`: trees of small files; first commit, nothing changed, one file changed, checkout, and a
//! clone with its working files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::super::inputs::{self, tree};
use super::super::limits;
use super::super::measure::{self, Cmd};
use super::super::ours::Ours;
use super::super::parse;
use super::super::record::{OURS, Recorder, Sample};
use super::super::targets::{Metric, Target, at_most, times};
use super::super::world::World;
use super::backups::{Borg, Restic};
use super::count;

/// Who takes part.
pub(super) const PEERS: &[&str] = &["git", "restic", "borg", "rsync", "dvc"];
const COPY: &str = "cp -r + sync";
const FIRST: &str = "first commit";
const STATUS: &str = "status, nothing changed";
const ONE: &str = "commit of one changed file";
const CHECKOUT: &str = "checkout";
const CLONE: &str = "clone";
/// What a backup tool or a copier does of these.
const ROUNDS: [&str; 3] = [FIRST, STATUS, ONE];

/// How many files of how many bytes.
#[derive(Debug, Clone, Copy)]
struct Tree {
    files: u64,
    size: usize,
}

const MANY: [Tree; 2] = [Tree { files: 10_000, size: 4096 }, Tree { files: 100_000, size: 4096 }];
const MILLION: [Tree; 1] = [Tree { files: 1_000_000, size: 1024 }];

impl Tree {
    fn step(self, what: &str) -> String {
        format!("{} files: {what}", count(usize::try_from(self.files).unwrap_or(usize::MAX)))
    }
}

/// One tree and where it lies.
struct Case<'a> {
    world: &'a World,
    tree: Tree,
    source: PathBuf,
    round: u64,
}

impl Case<'_> {
    fn step(&self, what: &str) -> String {
        self.tree.step(what)
    }

    /// A fresh copy of the tree, as a working directory of `tool`; on disk before anything is measured.
    fn working_copy(&self, tool: &str) -> Result<PathBuf> {
        let dir = self.world.fresh(tool)?.join("work");
        Cmd::new("cp").arg("-r").arg(&self.source).arg(&dir).plain()?;
        Ok(dir)
    }

    /// Before the round `what` of a tool that does the same in each: one file is changed when it is about that.
    fn prepare(&self, what: &str, work: &Path) -> Result<()> {
        if what == ONE { tree::change_one(work, self.tree.files, self.round) } else { Ok(()) }
    }
}

/// Runs `files-many`.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let quick = [Tree { files: 300, size: MANY[0].size }];
    trees(world, ours, recorder, if world.quick { &quick } else { &MANY })
}

/// Runs `files-million`.
pub(super) fn run_million(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let quick = [Tree { files: 1_000, size: MILLION[0].size }];
    trees(world, ours, recorder, if world.quick { &quick } else { &MILLION })
}

fn trees(world: &World, ours: Option<&Ours>, recorder: &mut Recorder, trees: &[Tree]) -> Result<Vec<String>> {
    for &tree in trees {
        let name = format!("tree-{}-{}-v{}", tree.files, tree.size, inputs::VERSION);
        let source = world.input(&name, |dir| tree::write(dir, tree.files, tree.size))?;
        let mut case = Case { world, tree, source, round: 0 };
        for round in 0..world.repetitions {
            case.round = round as u64;
            if let Some(ours) = ours {
                we(&case, ours, recorder)?;
                world.clear()?;
            }
            type Peer = fn(&Case<'_>, &mut Recorder) -> Result<()>;
            let peers: [(&str, Peer); 5] =
                [("git", git), ("restic", restic), ("borg", borg), ("rsync", by_rsync), ("dvc", dvc)];
            for (name, peer) in peers {
                if world.has(name) {
                    peer(&case, recorder).with_context(|| name.to_owned())?;
                    world.clear()?;
                }
            }
            copy(&case, recorder)?;
            world.clear()?;
        }
    }
    let sizes: Vec<String> = trees.iter().map(|tree| format!("{} of {} bytes", tree.files, tree.size)).collect();
    Ok(vec![
        format!(
            "Input: files of random bytes ({}), a hundred to a directory. Everything is in the page cache (warm).",
            sizes.join(", ")
        ),
        "git leaves loose objects unsynced and rsync, DVC and cp everything: each is followed by a flush of the file system. restic \
         and borg sync what they store. A checkout makes all working files again after they were removed; a clone makes the history and \
         the working files; of restic and borg it is a restore, of rsync and cp a second copy."
            .to_owned(),
        "Disk growth is the apparent size of the store: the length of its files, without the working files.".to_owned(),
    ])
}

fn we(case: &Case<'_>, ours: &Ours, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    let work = case.working_copy("ours")?;
    let store = work.join(".syncline");
    ours.init(&work, false)?;
    let commit = || ours.at(&work, ["commit", "-m", "benchmark"]);
    let (mut sample, _) = ours.step(world, commit())?;
    let size = measure::size(&store)?;
    sample.disk = Some(size.cast_signed());
    recorder.add(&case.step(FIRST), OURS, "", sample);

    let (sample, status) = ours.step(world, ours.at(&work, ["status"]))?;
    ensure!(status["clean"].as_bool() == Some(true), "right after a commit our status says {status}");
    recorder.add(&case.step(STATUS), OURS, "", sample);

    case.prepare(ONE, &work)?;
    let (mut sample, report) = ours.step(world, commit())?;
    let updated = report["changes"][0]["updated"].as_u64();
    ensure!(updated == Some(1), "one file was changed and our commit says {report}");
    sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
    recorder.add(&case.step(ONE), OURS, "", sample);

    let kept = emptied(case, &work)?;
    let (sample, _) = ours.step(world, ours.at(&work, ["checkout", "--force", "main"]))?;
    same(&kept, &work, &[".syncline"])?;
    recorder.add(&case.step(CHECKOUT), OURS, "", sample);

    let node = ours.up(&world.fresh("ours-node")?)?;
    let url = node.url("bench");
    ours.run(&ours.at(&work, ["push", &url]))?;
    let copy = world.fresh("ours-copy")?.join("work");
    let (sample, _) = ours.transfer(world, &node, ours.cmd(["clone", &url]).arg(&copy))?;
    ensure!(ours.root(&copy)? == ours.root(&work)?, "after the clone the two roots differ");
    same(&work, &copy, &[".syncline"])?;
    recorder.add(&case.step(CLONE), OURS, "over loopback; both sides' CPU and memory", sample);
    Ok(())
}

/// Takes the working files of the input away, and gives the place where they are now.
fn emptied(case: &Case<'_>, work: &Path) -> Result<PathBuf> {
    let kept = case.world.fresh("kept")?;
    for entry in fs::read_dir(work).with_context(|| format!("listing {}", work.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(tree::PREFIX) {
            fs::rename(entry.path(), kept.join(entry.file_name())).context("putting working files aside")?;
        }
    }
    Ok(kept)
}

/// Checks that two trees hold the same files.
fn same(left: &Path, right: &Path, except: &[&str]) -> Result<()> {
    let cmd = Cmd::new("diff").args(["-r", "-q"]).args(except.iter().map(|name| format!("--exclude={name}")));
    cmd.arg(left).arg(right).plain().map(drop).context("a copy differs from its source")
}

fn git(case: &Case<'_>, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    let work = case.working_copy("git")?;
    let git = |words: &[&str]| {
        let cmd =
            Cmd::new("git").args(["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]);
        cmd.args(words).dir(&work)
    };
    git(&["init", "-q", "-b", "main"]).plain()?;
    let commit = || [git(&["add", "-A"]), git(&["commit", "-q", "-m", "benchmark"])];
    let (mut sample, _) = world.step_flushed(&commit(), &work)?;
    let size = measure::size(&work.join(".git"))?;
    sample.disk = Some(size.cast_signed());
    recorder.add(&case.step(FIRST), "git", "", sample);
    let (sample, output) = world.step(&[git(&["status", "--porcelain"])])?;
    ensure!(output[0].trim().is_empty(), "right after a commit git status says {}", output[0]);
    recorder.add(&case.step(STATUS), "git", "", sample);
    case.prepare(ONE, &work)?;
    let (mut sample, _) = world.step_flushed(&commit(), &work)?;
    sample.disk = Some(measure::size(&work.join(".git"))?.cast_signed() - size.cast_signed());
    recorder.add(&case.step(ONE), "git", "", sample);
    let kept = emptied(case, &work)?;
    let (sample, _) = world.step_flushed(&[git(&["checkout", "-q", "-f", "main"])], &work)?;
    same(&kept, &work, &[".git"])?;
    recorder.add(&case.step(CHECKOUT), "git", "", sample);
    let copy = world.fresh("git-copy")?.join("work");
    let clone = Cmd::new("git").args(["clone", "-q", "--no-local"]).arg(&work).arg(&copy);
    let (sample, _) = world.step_flushed(&[clone], &copy)?;
    same(&work, &copy, &[".git"])?;
    recorder.add(&case.step(CLONE), "git", "over a pipe", sample);
    Ok(())
}

/// The rounds of a tool whose command is the same each time; `store` is what grows.
fn rounds(
    case: &Case<'_>,
    tool: &str,
    [work, store]: [&Path; 2],
    recorder: &mut Recorder,
    mut add: impl FnMut(usize) -> Result<Sample>,
) -> Result<()> {
    for (at, what) in ROUNDS.into_iter().enumerate() {
        case.prepare(what, work)?;
        let size = measure::size(store)?;
        let mut sample = add(at)?;
        sample.disk = Some(measure::size(store)?.cast_signed() - size.cast_signed());
        let note = if what == STATUS { "a backup of nothing new" } else { "" };
        recorder.add(&case.step(what), tool, note, sample);
    }
    Ok(())
}

fn restic(case: &Case<'_>, recorder: &mut Recorder) -> Result<()> {
    let work = case.working_copy("restic")?;
    let restic = Restic::init(case.world, &work)?;
    rounds(case, "restic", [&work, &restic.store], recorder, |_| {
        let (sample, output) = case.world.step(&[restic.cmd(&["backup", "--json", "--quiet", "."])])?;
        parse::restic_added(&output[0])?;
        Ok(sample)
    })?;
    let copy = case.world.fresh("restic-copy")?;
    let restore = restic.cmd(&["restore", "latest", "--quiet", "--target"]).arg(&copy);
    let (sample, _) = case.world.step_flushed(&[restore], &copy)?;
    same(&work, &copy, &[])?;
    recorder.add(&case.step(CLONE), "restic", "a restore", sample);
    Ok(())
}

fn borg(case: &Case<'_>, recorder: &mut Recorder) -> Result<()> {
    let work = case.working_copy("borg")?;
    let borg = Borg::init(case.world, &work)?;
    let archive = |at: usize| borg.archive(&format!("v{at}"));
    rounds(case, "borg", [&work, &borg.store], recorder, |at| {
        Ok(case.world.step(&[borg.cmd("create").arg(archive(at)).arg(".")])?.0)
    })?;
    let copy = case.world.fresh("borg-copy")?;
    let extract = borg.cmd("extract").arg(archive(ROUNDS.len() - 1)).dir(&copy);
    let (sample, _) = case.world.step_flushed(&[extract], &copy)?;
    same(&work, &copy, &[])?;
    recorder.add(&case.step(CLONE), "borg", "a restore", sample);
    Ok(())
}

fn by_rsync(case: &Case<'_>, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    let work = case.working_copy("rsync")?;
    let copy = world.fresh("rsync-copy")?;
    let mut from = work.clone().into_os_string();
    from.push("/");
    // By whole seconds it would miss a change that follows the copy at once.
    let sync = |to: &Path| [Cmd::new("rsync").args(["-a", "--modify-window=-1", "--stats"]).arg(&from).arg(to)];
    for what in ROUNDS {
        case.prepare(what, &work)?;
        let (mut sample, output) = world.step_flushed(&sync(&copy), &copy)?;
        sample.wire = Some(parse::rsync_wire(&output[0])?);
        recorder.add(&case.step(what), "rsync", "a copy, no history", sample);
    }
    same(&work, &copy, &[])?;
    // Not `--fsync`: it waits for the disk once for each file, which nobody else does here.
    let clone = world.fresh("rsync-clone")?;
    let (mut sample, output) = world.step_flushed(&sync(&clone), &clone)?;
    sample.wire = Some(parse::rsync_wire(&output[0])?);
    recorder.add(&case.step(CLONE), "rsync", "a copy, no history", sample);
    Ok(())
}

fn dvc(case: &Case<'_>, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    let work = case.working_copy("dvc")?;
    let project = work.parent().context("a working copy has a directory")?;
    let dvc = |words: &[&str]| {
        let cmd = Cmd::new(world.python_program("dvc")).args(words).dir(project);
        cmd.env("DVC_NO_ANALYTICS", "true").env("DVC_GLOBAL_CONFIG_DIR", project).env("DVC_SITE_CACHE_DIR", project)
    };
    dvc(&["init", "-q", "--no-scm"]).plain()?;
    let store = project.join(".dvc/cache");
    for what in ROUNDS {
        case.prepare(what, &work)?;
        let size = measure::size(&store)?;
        if what == STATUS {
            let (sample, output) = world.step(&[dvc(&["status"])])?;
            ensure!(output[0].contains("up to date"), "right after an add dvc status says {}", output[0]);
            recorder.add(&case.step(what), "dvc", "", sample);
            continue;
        }
        let (mut sample, _) = world.step_flushed(&[dvc(&["add", "-q", "work"])], project)?;
        sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
        recorder.add(&case.step(what), "dvc", "", sample);
    }
    let kept = emptied(case, &work)?;
    let (sample, _) = world.step_flushed(&[dvc(&["checkout", "-q", "-f"])], project)?;
    same(&kept, &work, &[])?;
    recorder.add(&case.step(CHECKOUT), "dvc", "", sample);
    Ok(())
}

fn copy(case: &Case<'_>, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    for steps in [&[FIRST][..], &[CHECKOUT, CLONE]] {
        let to = world.fresh("cp")?.join("copy");
        let sample = limits::copy(world, &case.source, &to)?;
        for what in steps {
            recorder.limit(&case.step(what), COPY, "", sample.clone());
        }
    }
    let find = Cmd::new("find").arg(&case.source).args(["-type", "f", "-printf", "%s %T@\\n"]);
    let (sample, output) = world.step(&[find])?;
    ensure!(output[0].lines().count() as u64 == case.tree.files, "find sees another number of files");
    recorder.limit(&case.step(STATUS), "find", "sizes and times of all files", sample);
    Ok(())
}

/// What is aimed for in `files-many`.
pub(super) fn targets() -> Vec<Target> {
    targets_of(&MANY)
}

/// What is aimed for in `files-million`.
pub(super) fn targets_million() -> Vec<Target> {
    targets_of(&MILLION)
}

fn targets_of(trees: &[Tree]) -> Vec<Target> {
    let mut targets = Vec::new();
    for tree in trees {
        #[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
        let raw = (tree.files * tree.size as u64) as f64;
        targets.extend([
            times(tree.step(FIRST), 0.5, COPY),
            at_most(tree.step(FIRST), Metric::Disk, 1.1 * raw),
            times(tree.step(STATUS), 1.0, "git"),
            times(tree.step(CHECKOUT), 1.1, COPY),
            times(tree.step(CLONE), 1.1, COPY),
        ]);
        if tree.files == 100_000 {
            targets.push(at_most(tree.step(ONE), Metric::Wall, 0.2));
        }
    }
    targets
}

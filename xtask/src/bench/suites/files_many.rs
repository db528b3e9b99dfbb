//! `files-many`: trees of small files; first commit, nothing changed, one file changed, a clone with its working files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::super::inputs::{self, tree};
use super::super::limits;
use super::super::measure::{self, Cmd};
use super::super::ours::Ours;
use super::super::parse;
use super::super::record::{OURS, Recorder};
use super::super::targets::{Metric, Target, at_most, times};
use super::super::world::World;
use super::{count, rsync};

const FULL: [u64; 2] = [10_000, 100_000];
const QUICK: [u64; 1] = [300];
const SIZE: usize = 4096;
const COPY: &str = "cp -r + sync";

/// One tree and its steps' names.
struct Case<'a> {
    world: &'a World,
    files: u64,
    source: PathBuf,
}

impl Case<'_> {
    fn step(&self, what: &str) -> String {
        step(self.files, what)
    }

    /// A fresh copy of the tree, as a working directory of `tool`; on disk before anything is measured.
    fn working_copy(&self, tool: &str) -> Result<PathBuf> {
        let dir = self.world.fresh(tool)?.join("work");
        Cmd::new("cp").arg("-r").arg(&self.source).arg(&dir).plain()?;
        Ok(dir)
    }
}

fn step(files: u64, what: &str) -> String {
    format!("{} files: {what}", count(usize::try_from(files).unwrap_or(usize::MAX)))
}

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let sizes: &[u64] = if world.quick { &QUICK } else { &FULL };
    for &files in sizes {
        let name = format!("tree-{files}-{SIZE}-v{}", inputs::VERSION);
        let source = world.input(&name, |dir| tree::write(dir, files, SIZE))?;
        let case = Case { world, files, source };
        for round in 0..world.repetitions {
            let round = round as u64;
            if let Some(ours) = ours {
                we(&case, ours, round, recorder)?;
            }
            if world.has("git") {
                git(&case, round, recorder)?;
            }
            if world.has("restic") {
                restic(&case, round, recorder)?;
            }
            if world.has("rsync") {
                by_rsync(&case, round, recorder)?;
            }
            copy(&case, recorder)?;
        }
    }
    Ok(vec![
        format!("Input: files of {SIZE} random bytes, a hundred to a directory. Everything is in the page cache (warm)."),
        "git leaves loose objects unsynced and rsync and cp everything: each is followed by a flush of the file system. restic syncs \
         its packs. A clone makes the history and the working files; restic's is a restore, rsync's and cp's a second copy."
            .to_owned(),
        "Disk growth is the apparent size of the store: the length of its files, without the working files.".to_owned(),
    ])
}

fn we(case: &Case<'_>, ours: &Ours, round: u64, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    let work = case.working_copy("ours")?;
    let store = work.join(".syncline");
    ours.init(&work, false)?;
    let commit = || ours.at(&work, ["commit", "-m", "benchmark"]);
    let (mut sample, _) = ours.step(world, commit())?;
    let size = measure::size(&store)?;
    sample.disk = Some(size.cast_signed());
    recorder.add(&case.step("first commit"), OURS, "", sample);

    let (sample, status) = ours.step(world, ours.at(&work, ["status"]))?;
    ensure!(status["clean"].as_bool() == Some(true), "right after a commit our status says {status}");
    recorder.add(&case.step("status, nothing changed"), OURS, "", sample);

    tree::change_one(&work, case.files, round)?;
    let (mut sample, report) = ours.step(world, commit())?;
    let updated = report["changes"][0]["updated"].as_u64();
    ensure!(updated == Some(1), "one file was changed and our commit says {report}");
    sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
    recorder.add(&case.step("commit of one changed file"), OURS, "", sample);

    let node = ours.up(&world.fresh("ours-node")?)?;
    let url = node.url("bench");
    ours.at(&work, ["push", &url]).plain()?;
    let copy = world.fresh("ours-copy")?.join("work");
    let (sample, _) = ours.transfer(world, &node, ours.cmd(["clone", &url]).arg(&copy))?;
    ensure!(ours.root(&copy)? == ours.root(&work)?, "after the clone the two roots differ");
    same(&work, &copy, &[".syncline"])?;
    recorder.add(&case.step("clone"), OURS, "over loopback; both sides' CPU and memory", sample);
    Ok(())
}

/// Checks that two trees hold the same files.
fn same(left: &Path, right: &Path, except: &[&str]) -> Result<()> {
    let cmd = Cmd::new("diff").args(["-r", "-q"]).args(except.iter().map(|name| format!("--exclude={name}")));
    cmd.arg(left).arg(right).plain().map(drop).context("a copy differs from its source")
}

fn git(case: &Case<'_>, round: u64, recorder: &mut Recorder) -> Result<()> {
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
    recorder.add(&case.step("first commit"), "git", "", sample);
    let (sample, output) = world.step(&[git(&["status", "--porcelain"])])?;
    ensure!(output[0].trim().is_empty(), "right after a commit git status says {}", output[0]);
    recorder.add(&case.step("status, nothing changed"), "git", "", sample);
    tree::change_one(&work, case.files, round)?;
    let (mut sample, _) = world.step_flushed(&commit(), &work)?;
    sample.disk = Some(measure::size(&work.join(".git"))?.cast_signed() - size.cast_signed());
    recorder.add(&case.step("commit of one changed file"), "git", "", sample);
    let copy = world.fresh("git-copy")?.join("work");
    let clone = Cmd::new("git").args(["clone", "-q", "--no-local"]).arg(&work).arg(&copy);
    let (sample, _) = world.step_flushed(&[clone], &copy)?;
    same(&work, &copy, &[".git"])?;
    recorder.add(&case.step("clone"), "git", "over a pipe", sample);
    Ok(())
}

fn restic(case: &Case<'_>, round: u64, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    let work = case.working_copy("restic")?;
    let store = world.fresh("restic-store")?;
    let cache = world.fresh("restic-cache")?;
    let restic = |words: &[&str]| {
        let cmd = Cmd::new("restic").arg("--repo").arg(&store).arg("--cache-dir").arg(&cache).args(words);
        cmd.env("RESTIC_PASSWORD", "benchmark").dir(&work)
    };
    restic(&["init", "--quiet"]).plain()?;
    let backup = || [restic(&["backup", "--json", "--quiet", "."])];
    for what in ["first commit", "status, nothing changed", "commit of one changed file"] {
        if what.starts_with("commit of") {
            tree::change_one(&work, case.files, round)?;
        }
        let size = measure::size(&store)?;
        let (mut sample, output) = world.step(&backup())?;
        parse::restic_added(&output[0])?;
        sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
        let note = if what.starts_with("status") { "a backup of nothing new" } else { "" };
        recorder.add(&case.step(what), "restic", note, sample);
    }
    let copy = world.fresh("restic-copy")?;
    let restore = restic(&["restore", "latest", "--quiet", "--target"]).arg(&copy);
    let (sample, _) = world.step_flushed(&[restore], &copy)?;
    same(&work, &copy, &[])?;
    recorder.add(&case.step("clone"), "restic", "a restore", sample);
    Ok(())
}

fn by_rsync(case: &Case<'_>, round: u64, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    let work = case.working_copy("rsync")?;
    let copy = world.fresh("rsync-copy")?;
    let mut from = work.clone().into_os_string();
    from.push("/");
    // By whole seconds it would miss a change that follows the copy at once.
    let sync = || [Cmd::new("rsync").args(["-a", "--modify-window=-1", "--stats"]).arg(&from).arg(&copy)];
    for what in ["first commit", "status, nothing changed", "commit of one changed file"] {
        if what.starts_with("commit of") {
            tree::change_one(&work, case.files, round)?;
        }
        let (mut sample, output) = world.step_flushed(&sync(), &copy)?;
        sample.wire = Some(parse::rsync_wire(&output[0])?);
        recorder.add(&case.step(what), "rsync", "a copy, no history", sample);
    }
    same(&work, &copy, &[])?;
    let sample = rsync::new_files(world, &work, &world.fresh("rsync-clone")?)?;
    recorder.add(&case.step("clone"), "rsync", "`--fsync`, a copy, no history", sample);
    Ok(())
}

fn copy(case: &Case<'_>, recorder: &mut Recorder) -> Result<()> {
    let world = case.world;
    for what in ["first commit", "clone"] {
        let to = world.fresh("cp")?.join("copy");
        let sample = limits::copy(world, &case.source, &to)?;
        recorder.limit(&case.step(what), COPY, "", sample);
    }
    let find = Cmd::new("find").arg(&case.source).args(["-type", "f", "-printf", "%s %T@\\n"]);
    let (sample, output) = world.step(&[find])?;
    ensure!(output[0].lines().count() as u64 == case.files, "find sees another number of files");
    recorder.limit(&case.step("status, nothing changed"), "find", "sizes and times of all files", sample);
    fs::remove_dir_all(world.scratch().join("cp")).context("removing the copy")
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    for files in FULL {
        #[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
        let raw = (files * SIZE as u64) as f64;
        targets.extend([
            times(step(files, "first commit"), 0.5, COPY),
            at_most(step(files, "first commit"), Metric::Disk, 1.1 * raw),
            at_most(step(files, "first commit"), Metric::Rss, 400e6),
            times(step(files, "status, nothing changed"), 1.0, "git"),
            times(step(files, "clone"), 1.1, COPY),
        ]);
    }
    targets.push(at_most(step(100_000, "commit of one changed file"), Metric::Wall, 0.2));
    targets
}

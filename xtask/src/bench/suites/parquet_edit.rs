//! `parquet-edit`: the rows of a Parquet file as a table; rows inserted, rows deleted, a column added, another one dropped.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::super::inputs::{
    self, blob,
    prose::{self, Pages},
};
use super::super::measure::{self, Cmd};
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder, Sample};
use super::super::stats;
use super::super::targets::{Metric, Target, at_most};
use super::super::world::World;
use super::count;
use super::versions::{self, Version, Versions};

/// Who keeps or moves versions of the file.
pub(super) const PEERS: &[&str] = &["rsync", "xdelta3", "restic"];
const FULL: prose::Size = prose::Size { rows: 100_000, insert: 3_000, delete: 4_000 };
const QUICK: prose::Size = prose::Size { rows: 2_000, insert: 60, delete: 80 };
/// What Hugging Face published for Xet with content-defined pages: MB that were sent, edit by edit.
const PUBLISHED: [f64; 4] = [6.0e6, 7.57e6, 575e3, 37.7e3];
/// The first version that has other columns than the one before.
const COLUMNS: usize = 3;
const TABLE: [&str; 2] = ["--table", "rows"];

/// What is done to the version before.
fn edits(size: prose::Size) -> [String; 4] {
    let rows = |number: u64| count(usize::try_from(number).unwrap_or(usize::MAX));
    [
        format!("insert {} rows", rows(size.insert)),
        format!("delete {} rows", rows(size.delete)),
        "add a column".to_owned(),
        "drop a column".to_owned(),
    ]
}

fn commit_step(size: prose::Size, version: usize) -> String {
    if version == 0 { "first version".to_owned() } else { format!("commit: {}", edits(size)[version - 1]) }
}

fn push_step(size: prose::Size, version: usize) -> String {
    if version == 0 { "push: everything".to_owned() } else { format!("push: {}", edits(size)[version - 1]) }
}

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let size = if world.quick { QUICK } else { FULL };
    let name = format!("questions-{}-{}-{}-v{}", size.rows, size.insert, size.delete, inputs::VERSION);
    let dir = world.input(&name, |dir| prose::write(dir, size))?;
    let files = |pages, suffix| {
        let version = |(at, version)| Version {
            file: dir.join(prose::file(version, pages)),
            commit: commit_step(size, at),
            push: push_step(size, at),
        };
        Versions { world, list: prose::VERSIONS.into_iter().enumerate().map(version).collect(), suffix }
    };
    let (sized, defined) = (files(Pages::Sized, ""), files(Pages::ContentDefined, ", CDC pages"));
    for _ in 0..world.repetitions {
        if let Some(ours) = ours {
            Table { world, ours, size, dir: &dir }.run(recorder)?;
            defined.by_us(ours, "syncline, as a file with CDC pages", recorder)?;
        }
        sized.by_peers(PEERS, recorder)?;
        defined.by_peers(PEERS, recorder)?;
        for (at, sent) in PUBLISHED.into_iter().enumerate().filter(|_| !world.quick) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole bytes, above zero")]
            let sample = Sample { wire: Some(sent as u64), ..Sample::default() };
            recorder.limit(
                &push_step(size, at + 1),
                "Xet, published",
                "CDC pages, other rows, not measured here",
                sample,
            );
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
    let bytes = |pages| -> Result<String> {
        Ok(stats::bytes(measure::size(&dir.join(prose::file(prose::VERSIONS[0], pages)))? as f64))
    };
    Ok(vec![
        format!(
            "Input: {} rows of a text key in no order, three texts and a length: {} of Snappy Parquet, {} with content-defined (CDC) \
             pages. Inserted rows stand at three places of the file, deleted ones at two; in key order both are scattered.",
            count(usize::try_from(size.rows)?),
            bytes(Pages::Sized)?,
            bytes(Pages::ContentDefined)?,
        ),
        "We are given what changed: the new rows, the keys that go, the keys with the new column; peers are given the Parquet file \
         written again, with pages by size and with CDC pages. After each edit our table has to be what a fresh import of the whole file \
         gives: the same root, and once columns have come and gone the same rows."
            .to_owned(),
        "The published numbers are for 100 k rows of OpenOrca in 96 MB: what Xet sent of a file with CDC pages.".to_owned(),
        versions::NOTES.to_owned(),
    ])
}

/// Our run with the rows as a table.
struct Table<'a> {
    world: &'a World,
    ours: &'a Ours,
    size: prose::Size,
    dir: &'a Path,
}

impl Table<'_> {
    fn run(&self, recorder: &mut Recorder) -> Result<()> {
        let Self { world, ours, size, .. } = *self;
        let dir = world.fresh("ours")?;
        let (here, data) = (dir.join("here"), dir.join("node"));
        ours.init(&here, true)?;
        let (mut sample, _) = ours.step(world, self.import(&here, prose::VERSIONS[0]))?;
        sample.disk = Some(measure::size(&here)?.cast_signed());
        recorder.add(&commit_step(size, 0), OURS, "", sample);
        let node = ours.up(&data)?;
        let url = node.url("bench");
        let push = || ours.transfer(world, &node, ours.at(&here, ["push", &url]));
        recorder.add(&push_step(size, 0), OURS, "both sides' CPU and memory", push()?.0);
        for (at, commands) in self.edits(&here).into_iter().enumerate() {
            let version = at + 1;
            let before = measure::size(&here)?;
            let (mut sample, report) = ours.steps(world, commands)?;
            sample.disk = Some(measure::size(&here)?.cast_signed() - before.cast_signed());
            recorder.add(&commit_step(size, version), OURS, "", sample);
            let rows = size.rows + size.insert - if version > 1 { size.delete } else { 0 };
            ensure!(report["rows"].as_u64() == Some(rows), "{rows} rows were to be there: {report}");
            self.same_as_fresh(&here, version)?;
            let (sample, _) = push()?;
            ensure!(ours.root(&here)? == ours.root_on(&url)?, "after the push the two roots differ");
            recorder.add(&push_step(size, version), OURS, "both sides' CPU and memory", sample);
        }
        Ok(())
    }

    fn file(&self, version: &str) -> PathBuf {
        self.dir.join(prose::file(version, Pages::Sized))
    }

    /// A first import of a whole version.
    fn import(&self, replica: &Path, version: &str) -> Cmd {
        let import = self.ours.at(replica, ["import"]).arg(self.file(version));
        import.args(TABLE).args(["--key", prose::KEY, "-m", "benchmark"])
    }

    /// The commands of each edit.
    fn edits(&self, here: &Path) -> [Vec<Cmd>; 4] {
        let [inserts, deletes, lengths] = prose::EDITS.map(|name| {
            let import = self.ours.at(here, ["import"]).arg(self.dir.join(name));
            import.args(TABLE).args(["-m", "benchmark"])
        });
        let alter = |words: [&str; 2]| self.ours.at(here, ["alter"]).args(TABLE).args(words);
        let add = alter(["--add", &format!("{}:int32", prose::ADDED)]);
        let drop = alter(["--drop", prose::DROPPED]).args(["-m", "benchmark"]);
        [
            vec![inserts.args(["--mode", "append"])],
            vec![deletes.args(["--mode", "delete"])],
            vec![add, lengths],
            vec![drop],
        ]
    }

    /// Checks that the edited table is the one that a fresh import of the whole file gives: by its root, or, when columns
    /// have come and gone since, by its rows.
    fn same_as_fresh(&self, here: &Path, version: usize) -> Result<()> {
        let dir = self.world.fresh("ours-fresh")?;
        let fresh = dir.join("replica");
        self.ours.init(&fresh, true)?;
        self.ours.run(&self.import(&fresh, prose::VERSIONS[version]))?;
        let name = prose::VERSIONS[version];
        if version < COLUMNS {
            let root = |replica: &Path| self.ours.table_root(replica, TABLE[1]);
            let (edited, fresh) = (root(here)?, root(&fresh)?);
            ensure!(edited == fresh, "the edited table is {edited}, and a fresh import of {name} gives {fresh}");
            return Ok(());
        }
        let [one, two] = ["edited.csv", "fresh.csv"].map(|name| dir.join(name));
        for (replica, out) in [(here, &one), (&fresh, &two)] {
            self.ours.run(&self.ours.at(replica, ["export"]).args(TABLE).arg("-o").arg(out))?;
        }
        ensure!(
            blob::same(&one, &two)?,
            "the edited table has other rows than {name}: {} {}",
            one.display(),
            two.display()
        );
        Ok(())
    }
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    for (at, bytes) in [3e6, 100e3, 600e3, 10e3].into_iter().enumerate() {
        targets.push(at_most(commit_step(FULL, at + 1), Metric::Disk, bytes));
        targets.push(at_most(push_step(FULL, at + 1), Metric::Wire, bytes));
    }
    targets
}

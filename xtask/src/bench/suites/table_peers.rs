//! Lance, Delta and DoltLite: tools that keep a table in a store of their own, driven by the Python driver.
//!
//! DoltLite pushes to a file and clones from it. Lance and Delta have no push: their files go by rsync. What a suite asks
//! of all three is the same here, so that they do the same.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::super::measure;
use super::super::record::{Recorder, Sample};
use super::super::world::World;
use super::rsync;

/// The table peers.
pub(super) const PEERS: [&str; 3] = [LANCE, DELTA, DOLTLITE];
const LANCE: &str = "lance";
const DELTA: &str = "delta";
const DOLTLITE: &str = "doltlite";

/// One of them, with empty places for its store and for a copy.
#[derive(Debug)]
pub(super) struct TablePeer<'a> {
    world: &'a World,
    name: &'a str,
    key: Vec<&'a str>,
    /// Where its data are.
    store: PathBuf,
    /// What it pushes to: a copy of its files, or the directory of DoltLite's remote file.
    copy: PathBuf,
}

impl<'a> TablePeer<'a> {
    /// A peer with nothing stored yet; `key` is the table's key.
    pub(super) fn new(world: &'a World, name: &'a str, key: Vec<&'a str>) -> Result<Self> {
        let dir = world.fresh(name)?;
        let (store, copy) = (dir.join("store"), dir.join("copy"));
        if name == DOLTLITE {
            std::fs::create_dir(&store)?;
            std::fs::create_dir(&copy)?;
        }
        Ok(Self { world, name, key, store, copy })
    }

    /// Whether it has branches, a push and a clone of its own.
    pub(super) fn has_versions(&self) -> bool {
        self.name == DOLTLITE
    }

    /// Loads a table into its store and records it.
    pub(super) fn load(&self, step: &str, input: &Path, rows: usize, recorder: &mut Recorder) -> Result<()> {
        let note = if self.has_versions() { "rows from Python" } else { "" };
        self.load_into(&self.store, step, [input.to_string_lossy().as_ref(), note], rows, recorder)
    }

    /// Loads a table from CSV into a store beside its own and records it.
    pub(super) fn load_csv(&self, step: &str, input: &Path, rows: usize, recorder: &mut Recorder) -> Result<()> {
        let store = self.store.with_file_name("csv");
        let note = "types are guessed: decimals become floats";
        self.load_into(&store, step, [input.to_string_lossy().as_ref(), note], rows, recorder)
    }

    fn load_into(
        &self,
        store: &Path,
        step: &str,
        [input, note]: [&str; 2],
        rows: usize,
        recorder: &mut Recorder,
    ) -> Result<()> {
        let (mut sample, _) = self.call("load", store, &json!({"input": input}), Some(rows))?;
        sample.disk = Some(measure::size(store)?.cast_signed());
        recorder.add(step, self.name, note, sample);
        Ok(())
    }

    /// Reads every row and records it.
    pub(super) fn scan(&self, step: &str, rows: usize, recorder: &mut Recorder) -> Result<()> {
        let (sample, _) = self.call("scan", &self.store, &json!({}), Some(rows))?;
        let note = if self.has_versions() { "to Python tuples" } else { "" };
        recorder.add(step, self.name, note, sample);
        Ok(())
    }

    /// Applies a file of edits as a version and records it with the growth of the store.
    pub(super) fn edit(&self, step: &str, input: &Path, rows: usize, recorder: &mut Recorder) -> Result<()> {
        self.grown(step, "edit", &json!({"input": input}), Some(rows), recorder)
    }

    /// Merges two branches with the edits of two files, which were made before, and records it.
    pub(super) fn merge(&self, step: &str, inputs: [&Path; 2], recorder: &mut Recorder) -> Result<()> {
        self.call("branches", &self.store, &json!({"inputs": inputs}), None)?;
        self.grown(step, "merge", &json!({}), None, recorder)
    }

    fn grown(&self, step: &str, verb: &str, args: &Value, rows: Option<usize>, recorder: &mut Recorder) -> Result<()> {
        let before = measure::size(&self.store)?;
        let (mut sample, _) = self.call(verb, &self.store, args, rows)?;
        sample.disk = Some(measure::size(&self.store)?.cast_signed() - before.cast_signed());
        recorder.add(step, self.name, "", sample);
        Ok(())
    }

    /// Compares the newest version with the one before and records it.
    pub(super) fn diff(&self, step: &str, rows: usize, recorder: &mut Recorder) -> Result<()> {
        let (sample, _) = self.call("diff", &self.store, &json!({}), Some(rows))?;
        recorder.add(step, self.name, "", sample);
        Ok(())
    }

    /// Moves what is new to the copy.
    pub(super) fn push(&self) -> Result<Sample> {
        if !self.has_versions() {
            return rsync::new_files(self.world, &self.store, &self.copy);
        }
        let before = measure::size(&self.copy)?;
        let (mut sample, _) = self.call("push", &self.store, &json!({}), None)?;
        sample.wire = Some(measure::size(&self.copy)?.saturating_sub(before));
        Ok(sample)
    }

    /// What one has to know of its pushes.
    pub(super) fn push_note(&self) -> &'static str {
        if self.has_versions() { "to a file; wire = growth of it" } else { "new files by rsync" }
    }

    /// Makes a copy of everything and records it. What comes after is pushed to the same copy.
    pub(super) fn clone_all(&self, step: &str, rows: usize, recorder: &mut Recorder) -> Result<()> {
        let mut sample = self.push()?;
        if !self.has_versions() {
            sample.disk = Some(measure::size(&self.copy)?.cast_signed());
            recorder.add(step, self.name, "all files by rsync", sample);
            return Ok(());
        }
        let clone = self.store.with_file_name("clone");
        std::fs::create_dir(&clone)?;
        let (mut sample, _) = self.call("clone", &clone, &json!({}), Some(rows))?;
        let size = measure::size(&clone)?;
        (sample.disk, sample.wire) = (Some(size.cast_signed()), Some(size));
        recorder.add(step, self.name, "from a file; wire = size of the copy", sample);
        Ok(())
    }

    /// One step of the driver; it has to touch `rows` rows.
    fn call(&self, verb: &str, store: &Path, args: &Value, rows: Option<usize>) -> Result<(Sample, Value)> {
        let mut all = json!({"store": store, "key": self.key, "remote": self.copy.join("remote.db")});
        for (name, value) in args.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let (sample, said) = self.world.table_peer(self.name, verb, &all)?;
        rows.map_or(Ok(()), |rows| done(self.name, verb, &said, rows))?;
        Ok((sample, said))
    }
}

/// Checks that a peer did what it was asked to do.
pub(super) fn done(peer: &str, step: &str, said: &Value, rows: usize) -> Result<()> {
    let found = said["rows"].as_u64();
    ensure!(found == Some(rows as u64), "{peer} {step} was to touch {rows} rows and says {said}");
    Ok(())
}

//! Wall clocks that are wrong: a library that the programs of a machine load first (`clock.c`, made with the C compiler) adds to the time what
//! stands in a file, which can be changed while they run. Time that is measured (the monotonic clock) stays right, as it does on real machines.
//!
//! Owns: the file, until it goes with its directory. Not here: the kernel's own idea of time, which is right.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use syncline_base::{Clock, SystemClock};

use super::Leap;
use crate::run;

const SOURCE: &str = include_str!("clock.c");
/// Where the library finds the file.
const FILE: &str = "SYNCLINE_TRY_CLOCK";

/// The library, made.
#[derive(Debug, Clone)]
pub(crate) struct Library(PathBuf);

impl Library {
    /// Makes it, in a directory that stays while programs use it.
    pub(crate) fn build(place: &Path) -> Result<Self> {
        let (source, library) = (place.join("clock.c"), place.join("libclock.so"));
        std::fs::write(&source, SOURCE).with_context(|| format!("writing {}", source.display()))?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
        run::capture(&mut command).context("making wrong clocks, which needs a C compiler for Linux with 64 bits")?;
        Ok(Self(library))
    }
}

/// The wall clock of a machine. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Wall {
    path: PathBuf,
    file: Arc<File>,
    ahead: Arc<AtomicI64>,
}

impl Wall {
    /// One that is right.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        let wall = Self { path: path.to_owned(), file: Arc::new(file), ahead: Arc::default() };
        wall.leap(Leap::default())?;
        Ok(wall)
    }

    /// It is so wrong from now on.
    pub(super) fn leap(&self, leap: Leap) -> Result<()> {
        let nanos = leap.nanos();
        self.file.write_all_at(&nanos.to_ne_bytes(), 0).with_context(|| format!("writing {}", self.path.display()))?;
        self.ahead.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    /// What has to be in the environment of programs that are to see it.
    pub(super) fn env(&self, library: &Library) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![("LD_PRELOAD".to_owned(), text(&library.0)), (FILE.to_owned(), text(&self.path))]
    }

    /// What it shows.
    pub(super) fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.ahead.load(Ordering::Relaxed) / 1_000_000)
    }

    pub(super) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn programs_see_it_jump_while_they_run() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::build(dir.path()).unwrap();
        let wall = Wall::new(&dir.path().join("a.clock")).unwrap();
        // One process for all questions: a clock that is looked at only in the beginning would not do.
        let script = "import sys, time\nfor _ in sys.stdin: print(int(time.time() * 1000), int(time.monotonic() * 1000), flush=True)";
        let mut python = Command::new("python3");
        python.args(["-c", script]).envs(wall.env(&library)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut questions = child.stdin.take().unwrap();
        let mut ask = || {
            questions.write_all(b"\n").unwrap();
            let line = answers.next().unwrap().unwrap();
            let (wall, monotonic) = line.split_once(' ').unwrap();
            (wall.parse::<u64>().unwrap(), monotonic.parse::<u64>().unwrap())
        };
        let (_, begun) = ask();
        let hour = Duration::from_secs(3600);
        for leap in [Leap::ahead(hour), Leap::behind(hour), Leap::ahead(240 * hour), Leap::default()] {
            wall.leap(leap).unwrap();
            let (now, monotonic) = ask();
            assert!(now.abs_diff(wall.now_ms()) < 30_000, "{leap:?}: {now} is not {}", wall.now_ms());
            assert!(monotonic - begun < 60_000, "{leap:?}: measured time has jumped, too");
        }
        drop(questions);
        assert!(child.wait().unwrap().success());
    }
}

//! The file of the next segment, made before it is needed: to write a file full of zeros and to put them down takes a disk longer than
//! who appends to a log is to wait.
//!
//! Owns: one file beside the segments, under a name that nobody else uses, and the thread that makes it. Long files that are removed have such names
//! for a moment, too. After a crash: such a file is nothing; whoever opens the directory next removes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use syncline_base::rng::Rng;
use syncline_base::task;

/// Files grow by so much when space is taken for them.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// So many bytes go to the disk at once of a file that nobody waits for: who syncs the log meanwhile waits for them.
const GENTLY: u64 = 1 << 20;
/// What such files are called first.
const NAME: &str = "spare-";
/// A smaller file is made when it is needed.
const LEAST: u64 = 1 << 20;

/// Such a file, when there is one.
#[derive(Debug, Default)]
pub(super) struct Spare(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// Nothing was made so far: a log of one segment needs none.
    #[default]
    Idle,
    None,
    Making,
    Ready(Made),
    /// Nobody wants one any more.
    Closed,
}

/// A file that is durable and full of zeros. It is removed when it was not used.
#[derive(Debug)]
struct Made {
    path: PathBuf,
    size: u64,
    file: Option<File>,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.file.is_some() {
            // One that stays is removed by whoever opens the directory next.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        *self.state() = State::Closed;
    }
}

impl Spare {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a file full of zeros at `path`, where there is none: at once when one was made before. Has the next one made.
    pub(super) fn file(&self, path: &Path, size: u64) -> io::Result<File> {
        let ready = match &mut *self.state() {
            State::Ready(made) if made.size == size => made.rename(path),
            _ => None,
        };
        let file = match ready {
            Some(file) => file,
            None => zeros(path, size, u64::MAX)?,
        };
        if size >= LEAST {
            self.make(path, size);
        }
        Ok(file)
    }

    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        matches!(*self.state(), State::Ready(_))
    }

    fn make(&self, beside: &Path, size: u64) {
        let mut state = self.state();
        match &*state {
            State::Idle => {
                *state = State::None;
                return;
            }
            State::Making | State::Closed => return,
            State::None | State::Ready(_) => *state = State::Making,
        }
        drop(state);
        let path = beside.with_file_name(format!("{NAME}{:016x}", Rng::from_os().next_u64()));
        let all = Arc::clone(&self.0);
        let begun = task::spawn("syncline-spare", move || {
            let made = zeros(&path, size, GENTLY).and_then(|file| file.sync_all().map(|()| file));
            // Without it the next file is made when it is needed.
            let made = Made { path, size, file: made.ok() };
            let mut state = all.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Making) {
                *state = if made.file.is_some() { State::Ready(made) } else { State::None };
            }
        });
        if begun.is_err() {
            *self.state() = State::None;
        }
    }
}

impl Made {
    /// Gives it a name that is not taken.
    fn rename(&mut self, to: &Path) -> Option<File> {
        if to.try_exists().unwrap_or(true) || std::fs::rename(&self.path, to).is_err() {
            return None;
        }
        self.file.take()
    }
}

/// A new file that is zeros already: a sync of what is written over them has no length and no place to write down. So many bytes are put down
/// at once, but for the last.
fn zeros(path: &Path, size: u64, at_once: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let mut left = size;
    while left > 0 {
        let n = left.min(ZEROS.len() as u64);
        file.write_all(&ZEROS[..n as usize])?;
        left -= n;
        if left > 0 && (size - left).is_multiple_of(at_once) {
            file.sync_data()?;
        }
    }
    Ok(file)
}

/// Removes a file. To give back the space of a long one takes the file system milliseconds, which nobody who holds a lock is to wait for: its name
/// is gone when this returns, the rest goes on a thread, or when the directory is opened next.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.len() < LEAST {
        return std::fs::remove_file(path);
    }
    let gone = path.with_file_name(format!("{NAME}{:016x}", Rng::from_os().next_u64()));
    std::fs::rename(path, &gone)?;
    let rest = gone.clone();
    match task::spawn("syncline-remove", move || drop(std::fs::remove_file(rest))) {
        Ok(_) => Ok(()),
        Err(_) => std::fs::remove_file(&gone),
    }
}

/// Removes what a process that died has left.
pub(super) fn clean(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(NAME)) {
            // One of a thread that still makes it: that finds it gone.
            let _ = std::fs::remove_file(directory.join(name));
        }
    }
    Ok(())
}

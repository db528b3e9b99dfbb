//! Flushing: group commit, the journal, and packs on places that cannot append.
//!
//! One thread flushes at a time, for all that wait: who comes while a flush runs waits for it and then one of them flushes for
//! all. The journal is shared by the processes that write to a place, one at a time, under the lock `writer`.

use bytes::Bytes;
use syncline_base::Hash;

use super::Store;
use super::head::Mark;
use crate::error::{Error, Result};
use crate::frame::Built;
use crate::index::{FileInfo, JOURNALS};
use crate::pack::{self, Loc};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    running: bool,
    /// Flushes that have started.
    started: u64,
    /// Flushes that have ended.
    ended: u64,
    /// How the last one that failed did, and which it was.
    failed: Option<(u64, Error)>,
}

/// The journal that this process appended to last.
#[derive(Debug, Default)]
pub(super) struct Journal {
    at: Option<Position>,
}

#[derive(Debug, Clone)]
struct Position {
    name: String,
    file: u32,
    len: u64,
}

impl Position {
    fn mark(&self) -> Mark {
        Mark { journal: self.name.clone(), len: self.len }
    }
}

impl Store {
    /// Makes everything that was put before durable, and visible to other processes. Concurrent calls share one sync.
    ///
    /// # Errors
    /// `Unavailable` when another process keeps the lock or the place is full; the backend's. What was put stays in memory, and a
    /// later flush tries again. `Conflict` when a collection has taken what this work counts on ([`Store::work`]): start over.
    pub fn flush(&self) -> Result<()> {
        self.flush_all()?;
        // Last: the head is moved next.
        self.check_work()
    }

    /// As `flush`, for whoever only wants what was put to lie in files.
    pub(super) fn flush_all(&self) -> Result<()> {
        let inner = &self.inner;
        let lock = || inner.flushing.lock().expect("no code panics while it holds the turns");
        let mut turns = lock();
        // A flush that runs already may have missed our last put: the next one has it.
        let mine = turns.started + 1;
        while turns.running && turns.ended < mine {
            turns = inner.flushed.wait(turns).expect("no code panics while it holds the turns");
        }
        if turns.ended >= mine {
            return match &turns.failed {
                Some((which, error)) if *which >= mine => Err(error.clone()),
                _ => Ok(()),
            };
        }
        turns.running = true;
        turns.started += 1;
        let number = turns.started;
        drop(turns);
        let result = self.flush_now();
        let mut turns = lock();
        turns.running = false;
        turns.ended = number;
        if let Err(error) = &result {
            turns.failed = Some((number, error.clone()));
        }
        drop(turns);
        inner.flushed.notify_all();
        result
    }

    fn flush_now(&self) -> Result<()> {
        let mut writer = self.writer();
        let packed = writer.close()?;
        if writer.frames.is_empty() && !packed {
            return Ok(());
        }
        if packed || !self.inner.backend.caps().append {
            // Under the writer's lock: what is put meanwhile must not end up in a pack that is being closed.
            if !writer.frames.is_empty() {
                writer.spill(self)?;
            }
            writer.finish_packs(self)?;
            drop(writer);
            self.inner.index.maintain_quietly();
            return Ok(());
        }
        let frames = std::mem::take(&mut writer.frames);
        writer.frame_bytes = 0;
        drop(writer);
        if let Err(error) = self.append(&frames) {
            let mut writer = self.writer();
            writer.frame_bytes += frames.iter().map(|built| built.len as usize).sum::<usize>();
            writer.frames.splice(0..0, frames);
            return Err(error);
        }
        self.inner.index.maintain_quietly();
        Ok(())
    }

    /// Appends frames to the journal.
    fn append(&self, frames: &[Built]) -> Result<()> {
        let inner = &self.inner;
        let _guard = self.lock("writer")?;
        let mut journal = inner.journal.lock().expect("no code panics while it holds the journal");
        let mut position = self.position(journal.at.take())?;
        let parts: Vec<Bytes> = frames.iter().flat_map(|built| built.parts.iter().cloned()).collect();
        // On an error `journal.at` stays empty, and the next append looks at the files anew: after a failed sync nobody knows what
        // of the journal is on the disk.
        inner.backend.append(&position.name, position.len, &parts).inspect_err(|_| self.give_up(&position))?;
        let from = position.len;
        let mut state = inner.index.write();
        for built in frames {
            for (id, loc) in pack::locate_built(position.file, pack::check_room(&position.name, position.len)?, built) {
                state.pending.remove(&id);
                state.tail.insert(id, loc);
            }
            position.len += u64::from(built.len);
        }
        state.cover(position.file, from, position.len);
        let info = &mut state.files[position.file as usize];
        // The sync covers what other processes wrote before, too.
        (info.end, info.durable) = (position.len, position.len);
        drop(state);
        inner.note_written(position.file);
        self.note_mark(Some(position.mark()));
        if position.len >= inner.options.journal_bytes {
            self.seal_quietly(&position);
        } else {
            journal.at = Some(position);
        }
        Ok(())
    }

    /// Where the next append goes. Only under the lock.
    fn position(&self, last: Option<Position>) -> Result<Position> {
        let inner = &self.inner;
        if let Some(last) = last
            && inner.backend.size(&last.name)? == Some(last.len)
        {
            return Ok(last);
        }
        let mut open = self.open_journals()?;
        let found = open.pop_if(|newest| newest.len < inner.options.journal_bytes);
        // Whose writer was stopped before it could close it. Nobody goes on with it, and only what is closed is collected.
        open.iter().for_each(|left| self.seal_quietly(left));
        if let Some(found) = found {
            let acknowledged = inner.index.read().files[found.file as usize].durable > 0;
            if found.len > 0 && !acknowledged {
                // Its maker may have been killed before its name was durable. Once something in it was acknowledged, it is.
                inner.backend.sync_name(&found.name)?;
            }
            return Ok(found);
        }
        let name = self.new_name(JOURNALS);
        Ok(Position { file: inner.index.write().file(&name), name, len: 0 })
    }

    /// The journals that can be gone on with, the newest last. Only under the lock.
    fn open_journals(&self) -> Result<Vec<Position>> {
        let mark = self.newest_mark();
        self.inner.index.refresh()?;
        let state = self.inner.index.read();
        // A journal that lacks bytes that were acknowledged stays as it is: they may come back, and verify must see the gap.
        let short = |file: &FileInfo| {
            mark.as_ref().is_some_and(|mark| *mark.journal == *file.name && file.end < mark.len)
                || file.end < file.durable
        };
        let open = (0u32..).zip(&state.files).filter(|(_, file)| {
            let free = !file.finished && !file.given_up && !file.gone && !file.condemned;
            free && file.name.starts_with(JOURNALS) && !short(file)
        });
        // What lies beyond the last good frame was never acknowledged: the append cuts it off.
        let mut open: Vec<Position> =
            open.map(|(number, file)| Position { name: file.name.to_string(), file: number, len: file.end }).collect();
        open.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(open)
    }

    /// Makes durable what other processes have left in the open journal: what one of them could not make durable it has taken back
    /// before it let go of the lock.
    pub(super) fn sync_journal(&self) -> Result<()> {
        let inner = &self.inner;
        let _guard = self.lock("writer")?;
        let mut journal = inner.journal.lock().expect("no code panics while it holds the journal");
        let position = self.position(journal.at.take())?;
        if position.len > 0 {
            inner.backend.append(&position.name, position.len, &[]).inspect_err(|_| self.give_up(&position))?;
            let mut state = inner.index.write();
            let info = &mut state.files[position.file as usize];
            info.durable = info.durable.max(position.len);
            drop(state);
            self.note_mark(Some(position.mark()));
        }
        journal.at = Some(position);
        Ok(())
    }

    /// Notes that a journal could not be synced: the system says so only once, and the next sync tells nothing about what this one
    /// has lost.
    fn give_up(&self, position: &Position) {
        self.inner.index.write().files[position.file as usize].given_up = true;
    }

    /// Ends all open journals. Only under the lock.
    pub(super) fn seal_open(&self) -> Result<()> {
        let mut journal = self.inner.journal.lock().expect("no code panics while it holds the journal");
        journal.at = None;
        self.open_journals()?.iter().try_for_each(|open| self.seal(open))
    }

    /// As `seal`, where nothing depends on it: what is in the journal is durable, and the next writer tries again.
    fn seal_quietly(&self, position: &Position) {
        if let Err(error) = self.seal(position) {
            tracing::warn!(name = position.name, %error, "a journal could not be closed, which is tried again later");
        }
    }

    /// Ends a journal with a footer. One without a frame stays: the next writer starts with it.
    fn seal(&self, position: &Position) -> Result<()> {
        let inner = &self.inner;
        if position.len == 0 {
            return Ok(());
        }
        let mut entries: Vec<(Hash, Loc)> = Vec::new();
        pack::scan(&*inner.backend, &position.name, 0, position.len, &mut |at, len, frame| {
            let names: Vec<_> = frame.objects.iter().map(|object| (object.id, object.depth)).collect();
            entries.extend(pack::locate(0, pack::check_room(&position.name, at)?, len, &names));
            Ok(())
        })?;
        let footer = pack::footer(position.len, &mut entries)?;
        inner.backend.append(&position.name, position.len, std::slice::from_ref(&footer))?;
        let mut state = inner.index.write();
        let end = position.len + footer.len() as u64;
        state.cover(position.file, position.len, end);
        let info = &mut state.files[position.file as usize];
        (info.finished, info.end, info.durable) = (true, end, end);
        drop(state);
        self.note_mark(Some(Mark { journal: position.name.clone(), len: end }));
        Ok(())
    }
}

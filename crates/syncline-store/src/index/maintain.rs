//! Folding the tail into segments, and merging segments so that there are few.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use syncline_base::{Hash, Kind};

use super::refresh::TRIES;
use super::segment::{self, Cover, Segment};
use super::{Index, JOURNALS, Open, SEGMENTS};
use crate::error::{Error, Result};
use crate::pack::Loc;

/// A segment is merged into the newer ones before it when it is at most this many times as long as they are together.
const RATIO: u64 = 3;
/// Journal bytes that no segment covers: all of them are read when a store is opened.
const JOURNAL_BYTES: u64 = 8 << 20;

impl Index {
    /// Turns the tail into a segment when it is long, and merges segments. The name sorts after all that are there.
    pub(crate) fn maintain(&self) -> Result<()> {
        let _one = self.maintenance.lock().expect("no code panics while it maintains the index");
        let due = {
            let state = self.read();
            let journals =
                state.tail_covers.iter().filter(|(file, _)| state.files[**file as usize].name.starts_with(JOURNALS));
            let bytes: u64 = journals.flat_map(|(_, covers)| covers).map(|cover| cover.1 - cover.0).sum();
            state.tail.len() > self.fold_at || bytes > JOURNAL_BYTES
        };
        if due {
            self.fold()?;
            self.merge()?;
        }
        Ok(())
    }

    /// As `maintain`, for who has made durable what the index is about: that it lags behind costs others some reading, and is no
    /// reason to say that anything failed.
    pub(crate) fn maintain_quietly(&self) {
        // Most often somebody else has merged or collected what this process knew: then it catches up.
        if let Err(error) = self.maintain() {
            tracing::warn!(%error, "the index stays in memory");
            if let Err(error) = self.refresh() {
                tracing::warn!(%error, "what others have changed was not looked at");
            }
        }
    }

    /// As `maintain` within a refresh, where it only saves memory and time later: a place that cannot be written to is no error.
    pub(super) fn fold_quietly(&self) {
        if let Err(error) = self.fold().and_then(|()| self.merge()) {
            tracing::warn!(%error, "the index stays in memory");
        }
    }

    fn next_name(&self) -> String {
        let newest = self.read().segments.first().and_then(|open| number_of(&open.segment.name)).unwrap_or(0);
        let unique = self.names.lock().expect("no code panics while it draws a name").next_u64();
        format!("{SEGMENTS}{:012x}-{unique:016x}", newest + 1)
    }

    fn fold(&self) -> Result<()> {
        // What still is uploaded is in no segment: its file may never appear.
        let (covers, files, entries) = {
            let state = self.read();
            let visible: BTreeMap<u32, &Vec<(u64, u64)>> = state
                .tail_covers
                .iter()
                .filter(|(file, covers)| {
                    let info = &state.files[**file as usize];
                    info.upload.is_none() && !info.gone && covers.iter().all(|cover| cover.1 <= info.durable)
                })
                .map(|(file, covers)| (*file, covers))
                .collect();
            let mut covers = Vec::new();
            let mut files = Vec::new();
            let mut local = BTreeMap::new();
            for (&file, stretches) in &visible {
                local.insert(file, u32::try_from(covers.len()).expect("fewer than 2^32 files"));
                for &(from, to) in *stretches {
                    covers.push(Cover { name: state.files[file as usize].name.to_string(), from, to });
                    files.push(file);
                }
            }
            let entries: Vec<(Hash, Loc)> = state
                .tail
                .iter()
                .filter_map(|(id, loc)| Some((id, Loc { file: *local.get(&loc.file)?, ..loc })))
                .collect();
            (covers, files, entries)
        };
        if covers.is_empty() {
            return Ok(());
        }
        let about = entries.len() as u64;
        let open = self.publish(&covers, files, about, entries.iter().copied().map(Ok))?;
        let mut state = self.write();
        for (id, loc) in &entries {
            if let Some(loc) = open.translate(*loc) {
                state.tail.remove(*id, loc);
            }
        }
        for (cover, file) in open.segment.covers.iter().zip(&open.files) {
            if let Some(covers) = state.tail_covers.get_mut(file) {
                // A journal may have grown meanwhile: what was folded is the start of what is there.
                covers.iter_mut().filter(|known| known.0 == cover.from).for_each(|known| known.0 = cover.to);
                covers.retain(|known| known.0 < known.1);
            }
        }
        state.tail_covers.retain(|_, covers| !covers.is_empty());
        let mut segments = vec![open];
        segments.extend(state.segments.iter().cloned());
        state.segments = Arc::new(segments);
        state.listed.clear();
        Ok(())
    }

    fn publish(
        &self,
        covers: &[Cover],
        files: Vec<u32>,
        about: u64,
        entries: impl Iterator<Item = Result<(Hash, Loc)>>,
    ) -> Result<Arc<Open>> {
        let name = self.next_name();
        let upload = self.backend.create(&name)?;
        segment::write(&*upload, covers, about, entries)?;
        upload.publish()?;
        let size = self.backend.size(&name)?.unwrap_or(0);
        Ok(Arc::new(Open { segment: Segment::open(&*self.backend, &name, size)?, files }))
    }

    fn merge(&self) -> Result<()> {
        let segments = Arc::clone(&self.read().segments);
        let mut total = segments.first().map_or(0, |open| open.segment.entries);
        let mut count = 1;
        while let Some(next) = segments.get(count).filter(|next| next.segment.entries <= RATIO * total) {
            total += next.segment.entries;
            count += 1;
        }
        if count < 2 { Ok(()) } else { self.merge_first(count) }
    }

    /// Merges everything, tail included, into one segment.
    pub(crate) fn merge_all(&self) -> Result<()> {
        self.merge_without(&BTreeSet::new())
    }

    /// As `merge_all`, without these files, which will be deleted.
    pub(crate) fn merge_without(&self, going: &BTreeSet<u32>) -> Result<()> {
        let _one = self.maintenance.lock().expect("no code panics while it maintains the index");
        let mut tries = 0;
        loop {
            {
                let mut state = self.write();
                going.iter().for_each(|file| state.files[*file as usize].gone = true);
            }
            let count = || self.read().segments.len();
            match self.fold().and_then(|()| if count() == 0 { Ok(()) } else { self.merge_first(count()) }) {
                // Another process has merged the same segments meanwhile.
                Err(error) if error.kind() == Kind::NotFound && tries < TRIES => tries += 1,
                other => return other,
            }
            self.catch_up()?;
        }
    }

    /// After files were deleted: merges once more when the index names some, because another process was merging while they left it.
    pub(crate) fn forget_deleted(&self) -> Result<()> {
        self.refresh()?;
        let stale = {
            let state = self.read();
            let mut files = state.segments.iter().flat_map(|open| &open.files);
            files.any(|file| state.files[*file as usize].gone)
        };
        if stale { self.merge_all() } else { Ok(()) }
    }

    /// Merges the newest `count` segments, leaving out files that are gone.
    fn merge_first(&self, count: usize) -> Result<()> {
        for name in std::mem::take(&mut self.write().superseded) {
            match self.backend.delete(&name) {
                Err(error) if error.kind() == Kind::NotFound => {}
                other => other?,
            }
        }
        let segments: Vec<Arc<Open>> = self.read().segments.iter().take(count).cloned().collect();
        let (mut covers, mut files, mut local) = (Vec::new(), Vec::new(), BTreeMap::new());
        {
            let state = self.read();
            let mut stretches: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
            for open in &segments {
                for (cover, file) in open.segment.covers.iter().zip(&open.files) {
                    if !state.files[*file as usize].gone {
                        stretches.entry(*file).or_default().push((cover.from, cover.to));
                    }
                }
            }
            for (file, mut list) in stretches {
                list.sort_unstable();
                local.insert(file, u32::try_from(covers.len()).expect("fewer than 2^32 files"));
                let mut joined: Vec<(u64, u64)> = Vec::new();
                for (from, to) in list {
                    match joined.last_mut() {
                        Some(last) if last.1 >= from => last.1 = last.1.max(to),
                        _ => joined.push((from, to)),
                    }
                }
                for (from, to) in joined {
                    covers.push(Cover { name: state.files[file as usize].name.to_string(), from, to });
                    files.push(file);
                }
            }
        }
        let about = segments.iter().map(|open| open.segment.entries).sum();
        let merged = merge_entries(&*self.backend, &segments);
        let entries = merged.filter_map(|entry| match entry {
            Ok((id, loc)) => local.get(&loc.file).map(|&file| Ok((id, Loc { file, ..loc }))),
            Err(error) => Some(Err(error)),
        });
        let open = self.publish(&covers, files, about, entries)?;
        let there: BTreeSet<String> = self.backend.list(SEGMENTS)?.into_iter().map(|(name, _)| name).collect();
        if let Some(lost) = segments.iter().find(|open| !there.contains(&open.segment.name)) {
            // Another process has merged it meanwhile, perhaps to leave out files that it deletes.
            self.backend.delete(&open.segment.name)?;
            let reason = "another process was quicker: look again";
            let place = self.backend.describe();
            return Err(Error::backend(Kind::NotFound, "merging", &lost.segment.name, &place, reason));
        }
        {
            let mut state = self.write();
            let mut kept = vec![open];
            kept.extend(state.segments.iter().skip(count).cloned());
            state.segments = Arc::new(kept);
            state.listed.clear();
        }
        segments.iter().try_for_each(|open| self.backend.delete(&open.segment.name))
    }
}

fn number_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(SEGMENTS)?.split('-').next()?, 16).ok()
}

/// The entries of several segments in order of id, with global file numbers; of one id, those with fewer patches first, then those
/// of earlier segments.
pub(crate) fn merge_entries<'a>(
    backend: &'a dyn crate::backend::Backend,
    segments: &'a [Arc<Open>],
) -> impl Iterator<Item = Result<(Hash, Loc)>> + 'a {
    let mut sources: Vec<_> = segments
        .iter()
        .map(|open| {
            let entries = open.segment.iter(backend).filter_map(|entry| match entry {
                Ok((id, loc)) => open.translate(loc).map(|loc| Ok((id, loc))),
                Err(error) => Some(Err(error)),
            });
            entries.peekable()
        })
        .collect();
    std::iter::from_fn(move || {
        // Few segments: a plain search for the smallest is as quick as a heap.
        let mut best: Option<((Hash, u8), usize)> = None;
        for (n, source) in sources.iter_mut().enumerate() {
            match source.peek() {
                None => {}
                Some(Err(_)) => return source.next(),
                Some(Ok((id, loc))) if best.is_none_or(|(smallest, _)| (*id, loc.depth) < smallest) => {
                    best = Some(((*id, loc.depth), n));
                }
                Some(Ok(_)) => {}
            }
        }
        sources[best?.1].next()
    })
}

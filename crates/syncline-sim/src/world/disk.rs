//! A log on a disk that forgets, at a crash, any of what it was not told to keep.

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_sync::live::{Checkpoint, Record};

/// The records of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    records: Vec<Bytes>,
    durable: usize,
}

impl Disk {
    pub(super) fn append(&mut self, bytes: Bytes) {
        self.records.push(bytes);
    }

    pub(super) fn unsynced(&self) -> usize {
        self.records.len() - self.durable
    }

    /// The next `n` records are durable.
    pub(super) fn sync(&mut self, n: usize) {
        self.durable = (self.durable + n).min(self.records.len());
    }

    /// A checkpoint takes the place of everything before it.
    pub(super) fn replace(&mut self, checkpoint: Checkpoint) {
        self.records = vec![Record::Checkpoint(Box::new(checkpoint)).encode()];
        self.durable = 1;
    }

    /// The power fails: of what was not durable, a part from the front may have come through. Returns how many records are gone.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> usize {
        let before = self.records.len();
        let kept = rng.below(self.unsynced() as u64 + 1);
        self.records.truncate(self.durable + usize::try_from(kept).unwrap_or_default());
        self.durable = self.records.len();
        before - self.durable
    }

    /// What a copy of the disk has that is made now.
    pub(super) fn image(&self) -> Self {
        let mut image = self.clone();
        image.records.truncate(image.durable);
        image
    }

    /// Its records, for a node to start from.
    pub(super) fn read(&self) -> impl Iterator<Item = syncline_sync::Result<Record>> {
        self.records.iter().map(|bytes| Record::decode(bytes.clone()))
    }
}

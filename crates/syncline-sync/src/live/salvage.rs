//! What a replica must not lose when its log is damaged: its own transactions that no hub is known to have.
//!
//! Everything else that it had is with others. A transaction of which the log no longer says that a hub took it in counts as waiting: a hub that has
//! it says so, and it counts once.
//!
//! State: what waits, as far as the records that were shown say it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::id::Dot;
use super::part::What;
use super::record::{Record, Rewritten};
use super::txn::Txn;

/// What waits, by the records of a log of which some are missing.
#[derive(Debug, Default)]
pub struct Salvage {
    waiting: BTreeMap<u64, Arc<Txn>>,
    places: BTreeMap<Dot, u64>,
    next: u64,
    /// Waiting transactions in parts that may become a checkpoint's.
    parts: Vec<Arc<Txn>>,
    /// How many of these parts were shown without one missing before them.
    seen: u64,
    /// What is being written again, which takes effect with the last of it.
    again: Option<Rewritten>,
    /// How many records were shown that are none.
    pub unknown: u64,
}

impl Salvage {
    /// Looks at the bytes of the next record that could be read.
    pub fn show(&mut self, bytes: &[u8]) {
        match Record::decode(Bytes::copy_from_slice(bytes)) {
            Ok(records) => records.into_iter().for_each(|record| self.look(record)),
            Err(_) => self.unknown += 1,
        }
    }

    fn look(&mut self, record: Record) {
        if !matches!(record, Record::Rewritten(_)) {
            self.again = None;
        }
        match record {
            Record::Own(txn) => self.add(txn),
            Record::Entry(entry) => self.remove(&entry.txn.dot()),
            Record::Part(part) => {
                if part.nth == 0 {
                    self.parts.clear();
                    self.seen = 0;
                }
                self.seen += u64::from(part.nth == self.seen);
                if let What::Waiting(txns) = &part.what {
                    self.parts.extend(txns.iter().cloned());
                }
            }
            Record::Checkpoint(checkpoint) => {
                // It says what waits. If a part is missing that may be more.
                if self.seen == checkpoint.parts {
                    self.waiting.clear();
                    self.places.clear();
                }
                for txn in std::mem::take(&mut self.parts) {
                    self.add(txn);
                }
            }
            Record::Rewritten(rewritten) => {
                let again =
                    self.again.get_or_insert_with(|| Rewritten { more: true, refused: Vec::new(), again: Vec::new() });
                again.refused.extend(&rewritten.refused);
                again.again.extend(rewritten.again.iter().cloned());
                if let Some(again) = self.again.take_if(|_| !rewritten.more) {
                    again.refused.iter().for_each(|dot| self.remove(dot));
                    again.again.into_iter().for_each(|txn| self.add(txn));
                }
            }
            Record::Named(_) | Record::Hub(_) | Record::Joined(_) | Record::Signed(_) => {}
            Record::Scope(_) | Record::Rescoped(_) => {}
        }
    }

    fn add(&mut self, txn: Arc<Txn>) {
        let dot = txn.dot();
        if !self.places.contains_key(&dot) {
            self.places.insert(dot, self.next);
            self.waiting.insert(self.next, txn);
            self.next += 1;
        }
    }

    fn remove(&mut self, dot: &Dot) {
        if let Some(place) = self.places.remove(dot) {
            self.waiting.remove(&place);
        }
    }

    /// What waits, in the order in which it was written.
    pub fn waiting(self) -> impl Iterator<Item = Arc<Txn>> {
        self.waiting.into_values()
    }
}

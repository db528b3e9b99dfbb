//! From the roots down to what the receiver lacks, and back up sending it.

use bytes::Bytes;
use syncline_base::hash::IdSet;
use syncline_base::task;
use syncline_store::codec::Encoded;
use syncline_tree::walk::{self, ObjectKind};

use super::{Item, Sender, Task};
use crate::error::Result;
use crate::graph::{self, kind_to_byte};
use crate::wire::{self, FRAME_BYTES, MAX_IDS, Message, Object, PART_BYTES};

/// How many objects are opened at once. Inner nodes and lists are small, leaves are read one by one.
const OPEN_BATCH: usize = 512;
/// At most how many objects are read at once to be sent.
const SEND_BATCH: usize = 64;
/// About how many bytes of them, when they are long.
const SEND_BYTES: usize = 8 << 20;
/// How many are read before it is known how long they are.
const FIRST_BATCH: usize = 8;

impl Sender {
    /// Asks about these, or takes it that the receiver lacks them.
    pub(super) fn ask(&mut self, items: Vec<Item>, ask: bool) -> Result<()> {
        // What was forgotten may have been sent: the receiver knows.
        let ask = ask || self.sent.is_forgetful();
        let mut seen = IdSet::default();
        let mut items: Vec<Item> =
            items.into_iter().filter(|(id, _)| !self.sent.contains(id) && seen.insert(*id)).collect();
        if items.len() > MAX_IDS {
            let rest = items.split_off(MAX_IDS);
            self.stack.push(Task::Ask { items: rest, ask });
        }
        if items.is_empty() {
            return Ok(());
        }
        if !ask {
            self.stack.push(Task::Open { items, ask });
            return Ok(());
        }
        self.outbox.push_back(Message::Offer(items.iter().map(|(id, kind)| (*id, kind_to_byte(*kind))).collect()));
        self.asked = Some(items);
        Ok(())
    }

    /// Puts what these refer to before them.
    pub(super) fn open(&mut self, mut items: Vec<Item>, ask: bool) -> Result<()> {
        if items.len() > OPEN_BATCH {
            let rest = items.split_off(OPEN_BATCH);
            self.stack.push(Task::Open { items: rest, ask });
        }
        let store = &self.store;
        let below = task::try_map(items.clone(), |(id, kind)| walk::children_in(store, &id, kind))?;
        self.stack.push(Task::Send { items });
        let below: Vec<Item> = below.into_iter().flatten().filter(|(id, _)| !self.sent.contains(id)).collect();
        if !below.is_empty() {
            self.stack.push(Task::Ask { items: below, ask });
        }
        Ok(())
    }

    /// Sends these as they are stored, where the receiver can read that.
    pub(super) fn send(&mut self, mut items: Vec<Item>) -> Result<()> {
        let most = SEND_BYTES.checked_div(self.longest).map_or(FIRST_BATCH, |fit| fit.clamp(1, SEND_BATCH));
        if items.len() > most {
            let rest = items.split_off(most);
            self.stack.push(Task::Send { items: rest });
        }
        let mut seen = IdSet::default();
        items.retain(|(id, _)| !self.sent.contains(id) && seen.insert(*id));
        let (store, sent) = (&self.store, &self.sent);
        let encoded = task::try_map(items, |(id, kind)| {
            let mut object = store.get_encoded(&id)?;
            if !object.bases.iter().all(|base| sent.contains(base)) {
                object = graph::encode_whole(id, kind, &store.get(&id)?)?;
            }
            Ok::<_, crate::Error>((object, kind))
        })?;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let longest = encoded.iter().map(|(object, _)| object.raw_len as usize).max().unwrap_or(0);
        self.longest = longest.max(self.longest - self.longest / 16);
        for (object, kind) in encoded {
            self.sent.insert(object.id, kind);
            self.objects += 1;
            self.bytes += object.payload.len() as u64;
            bytes += object.payload.len() + 64;
            let parts = to_wire(object, kind, &mut batch);
            if bytes >= FRAME_BYTES || !parts.is_empty() {
                self.outbox.push_back(Message::Objects(std::mem::take(&mut batch)));
                self.outbox.extend(parts);
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.outbox.push_back(Message::Objects(batch));
        }
        Ok(())
    }
}

/// Adds an object to a batch; a long one is cut, and what does not fit into the batch is returned.
fn to_wire(object: Encoded, kind: ObjectKind, batch: &mut Vec<Object>) -> Vec<Message> {
    let mut payload: Bytes = object.payload;
    let mut parts = Vec::new();
    let first = payload.split_to(payload.len().min(PART_BYTES));
    let rest = u32::try_from(payload.len()).expect("the store keeps no object of 4 GiB");
    while !payload.is_empty() {
        parts.push(Message::Part(payload.split_to(payload.len().min(wire::PART_BYTES))));
    }
    batch.push(Object {
        id: object.id,
        kind: kind_to_byte(kind),
        codec: object.codec,
        bases: object.bases,
        raw_len: object.raw_len,
        rest,
        payload: first,
    });
    parts
}

//! Single objects by address: for repair, and for content that is fetched when it is read.
//!
//! The answer has the objects that the server holds, each able to stand on its own; what it does not hold is left out.
//!
//! Memory: a message and one object. Who asks knows how long an object may be, and a longer one is refused before it is decoded.

use std::collections::VecDeque;

use bytes::Bytes;
use syncline_base::hash::{IdMap, IdSet};
use syncline_base::{Hash, Kind, task};
use syncline_store::codec::{self, Encoded};
use syncline_store::{Bases, Store};

use super::{Local, Served, Session, unexpected};
use crate::error::{Error, Result};
use crate::graph;
use crate::wire::{self, FRAME_BYTES, MAX_IDS, Message, Object, PART_BYTES, Want};

/// How many objects are read at once: some megabytes.
const READ_BATCH: usize = 64;

enum Side {
    Server { store: Store, ids: VecDeque<Hash>, ready: VecDeque<Encoded> },
    Client { wanted: IdMap<usize>, got: VecDeque<Object>, open: Option<(Object, Vec<u8>)> },
}

/// Either side of a fetch.
pub struct Fetcher {
    side: Side,
    outbox: VecDeque<Message>,
    finished: bool,
    over: bool,
    objects: u64,
    bytes: u64,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("objects", &self.objects).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// The client's side: asks for these, each with the most bytes that it can have.
    ///
    /// # Errors
    /// `Invalid` for more than [`MAX_IDS`] addresses.
    pub fn ask(wanted: Vec<(Hash, usize)>) -> Result<Self> {
        if wanted.len() > MAX_IDS {
            let asked = wanted.len();
            return Err(Error::Invalid(format!("{asked} objects are more than one fetch takes ({MAX_IDS})")));
        }
        let ids = wanted.iter().map(|(id, _)| *id).collect();
        let hello = Message::Hello { version: wire::VERSION, want: Want::Fetch { ids } };
        let side = Side::Client { wanted: wanted.into_iter().collect(), got: VecDeque::new(), open: None };
        Ok(Self { side, outbox: VecDeque::from([hello]), finished: false, over: false, objects: 0, bytes: 0 })
    }

    pub(super) fn serve(local: &dyn Local, ids: Vec<Hash>) -> Self {
        let side = Side::Server { store: local.store().clone(), ids: ids.into(), ready: VecDeque::new() };
        Self { side, outbox: VecDeque::new(), finished: false, over: false, objects: 0, bytes: 0 }
    }

    /// The canonical bytes of the next object that has come, checked. They are decoded here, one at a time.
    ///
    /// # Errors
    /// `Corrupt` when they are not what the id says.
    pub fn take(&mut self) -> Result<Option<(Hash, Bytes)>> {
        let Side::Client { got, .. } = &mut self.side else { return Ok(None) };
        let Some(object) = got.pop_front() else { return Ok(None) };
        let bytes = graph::verify_whole(&codec::Registry::new(&[])?, &object)?;
        Ok(Some((object.id, bytes)))
    }

    pub(super) fn served(&self) -> Option<Served> {
        self.over.then_some(Served::Fetched { objects: self.objects })
    }

    fn fill(&mut self) -> Result<()> {
        let Side::Server { store, ids, ready } = &mut self.side else { return Ok(()) };
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < FRAME_BYTES {
            if ready.is_empty() {
                ready.extend(read(store, ids.drain(..ids.len().min(READ_BATCH)).collect())?);
            }
            let Some(object) = ready.pop_front() else {
                if ids.is_empty() {
                    break;
                }
                continue;
            };
            let mut payload = object.payload;
            bytes += payload.len() + 64;
            self.objects += 1;
            self.bytes += payload.len() as u64;
            let first = payload.split_to(payload.len().min(PART_BYTES));
            let rest = u32::try_from(payload.len()).expect("the store keeps no object of 4 GiB");
            // The kind means nothing here: what was asked for by address is checked by address.
            batch.push(Object {
                id: object.id,
                kind: 0,
                codec: object.codec,
                bases: Bases::none(),
                raw_len: object.raw_len,
                rest,
                payload: first,
            });
            if rest > 0 {
                self.outbox.push_back(Message::Objects(std::mem::take(&mut batch)));
                while !payload.is_empty() {
                    self.outbox.push_back(Message::Part(payload.split_to(payload.len().min(PART_BYTES))));
                }
            }
        }
        if !batch.is_empty() {
            self.outbox.push_back(Message::Objects(batch));
        }
        if ids.is_empty() && ready.is_empty() && !self.finished {
            self.finished = true;
            self.outbox.push_back(Message::Finish);
        }
        Ok(())
    }

    fn accept(&mut self, objects: Vec<Object>) -> Result<()> {
        let Side::Client { wanted, got, open } = &mut self.side else {
            return Err(unexpected(&Message::Objects(Vec::new()), "serving a fetch"));
        };
        for object in objects {
            let Some(longest) = wanted.get(&object.id).copied() else {
                return Err(Error::protocol("objects", format!("{} was not asked for", object.id.short())));
            };
            graph::check_within(&object, longest)?;
            if object.rest > 0 {
                // No encoded form is longer than the object by more than a little.
                let whole = object.payload.len() as u64 + u64::from(object.rest);
                if open.is_some() || whole > longest as u64 + (1 << 20) {
                    return Err(Error::protocol("objects", "parts that cannot be"));
                }
                let payload = object.payload.to_vec();
                *open = Some((object, payload));
                continue;
            }
            wanted.remove(&object.id);
            self.objects += 1;
            self.bytes += object.payload.len() as u64;
            if !object.bases.is_empty() {
                return Err(Error::protocol("objects", "a fetched object may not be a patch"));
            }
            got.push_back(object);
        }
        Ok(())
    }

    fn part(&mut self, bytes: &[u8]) -> Result<()> {
        let Side::Client { open, .. } = &mut self.side else {
            return Err(unexpected(&Message::Part(Bytes::new()), "serving a fetch"));
        };
        let Some((mut object, mut payload)) = open.take() else {
            return Err(Error::protocol("part", "no object waits for one"));
        };
        let left = object.rest as usize;
        if bytes.is_empty() || bytes.len() > left {
            return Err(Error::protocol("part", format!("{} bytes while {left} are missing", bytes.len())));
        }
        payload.extend_from_slice(bytes);
        object.rest -= u32::try_from(bytes.len()).expect("at most `rest`, which has 32 bits");
        if object.rest > 0 {
            *open = Some((object, payload));
            return Ok(());
        }
        object.payload = payload.into();
        self.accept(vec![object])
    }
}

/// Those that are here, each able to stand on its own. One that is damaged here is as good as not there.
fn read(store: &Store, ids: Vec<Hash>) -> Result<Vec<Encoded>> {
    let missing: IdSet = store.missing(&ids)?.into_iter().collect();
    let here: Vec<Hash> = ids.into_iter().filter(|id| !missing.contains(id)).collect();
    let found = match store.get_many(&here) {
        Ok(found) => found,
        Err(_) => {
            let mut found = Vec::with_capacity(here.len());
            for id in here {
                match store.get(&id) {
                    Ok(bytes) => found.push(bytes),
                    Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            found
        }
    };
    task::try_map(found, |bytes| Ok(Store::encode(&bytes)?))
}

impl Session for Fetcher {
    fn receive(&mut self, message: Message) -> Result<()> {
        match (&self.side, message) {
            (_, Message::Fault(fault)) => Err(super::of_fault(fault)),
            (Side::Client { .. }, Message::Objects(objects)) => self.accept(objects),
            (Side::Client { .. }, Message::Part(bytes)) => self.part(&bytes),
            (Side::Client { open: None, .. }, Message::Finish) => {
                self.outbox.push_back(Message::Done { left: Vec::new() });
                self.over = true;
                Ok(())
            }
            (Side::Server { .. }, Message::Done { .. }) if self.finished => {
                self.over = true;
                Ok(())
            }
            (_, message) => Err(unexpected(&message, "fetching")),
        }
    }

    fn next(&mut self) -> Result<Option<Message>> {
        if self.outbox.is_empty() && !self.finished && !self.over {
            self.fill()?;
        }
        Ok(self.outbox.pop_front())
    }

    fn is_over(&self) -> bool {
        self.over && self.outbox.is_empty()
    }

    fn progress(&self) -> (u64, u64) {
        (self.objects, self.bytes)
    }
}

//! Clients: they read, remember what they were told, and write after that, here or elsewhere, at once or much later.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use syncline_sync::live::{Context, RowKey, Write};

use super::{Failure, World, scopes, strict};
use crate::oracle::Snapshot;
use crate::profile::KEYS;
use crate::sights::Sight;

/// Somebody who reads and writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    /// What it read last: as the node told it, and as the oracle knows it.
    session: Option<(Context, Snapshot)>,
}

/// What a client asked a node to write.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) read: Snapshot,
}

/// The row of a number. Numbers and rows have the same order.
pub(super) fn row(key: u8) -> &'static RowKey {
    static ROWS: LazyLock<Vec<RowKey>> = LazyLock::new(|| {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let table = |key| if key < KEYS / 2 { a.clone() } else { b.clone() };
        (0..KEYS).map(|key| RowKey { table: table(key), key: Bytes::copy_from_slice(&[key]) }).collect()
    });
    &ROWS[usize::from(key)]
}

impl World {
    pub(super) fn read(&mut self, at: usize) -> Result<(), Failure> {
        let client = self.pick(self.clients.len());
        let Some(session) = self.read_now(at)? else { return Ok(()) };
        self.clients[client].session = Some(session);
        Ok(())
    }

    fn read_now(&mut self, at: usize) -> Result<Option<(Context, Snapshot)>, Failure> {
        let Some(node) = self.machines[at].node.as_ref().filter(|node| !node.renews()) else { return Ok(None) };
        let snapshot = self.judge.read(at, node)?;
        match self.rng.below(8) {
            0 => self.judge.view(node)?,
            1 => self.judge.root(node)?,
            _ => {
                let key = self.rng.below(u64::from(KEYS)) as u8;
                let inside = scopes::held(node).is_none_or(|keys| keys.contains(&key));
                if inside && self.judge.winner(node, key, self.zoo)? {
                    self.sights.saw(Sight::Conflict);
                }
            }
        }
        Ok(Some((node.context(), snapshot)))
    }

    pub(super) fn write(&mut self, at: usize) -> Result<(), Failure> {
        let client = self.pick(self.clients.len());
        let stale = self.rng.below(8) < self.profile.stale;
        let session = match self.clients[client].session.clone() {
            Some(session) if stale => session,
            // Somebody who has read nothing at all.
            None if stale => <_>::default(),
            _ => match self.read_now(at)? {
                Some(session) => session,
                None => return Ok(()),
            },
        };
        let mut writes = self.draw_writes();
        if self.profile.strict {
            // The others are certified. Rows that follow each other stay different ones.
            for write in &mut writes {
                write.row = row(strict::ROWS + write.row.key[0] % (KEYS - strict::ROWS)).clone();
            }
        }
        let now = self.now(at);
        let ticket = self.next_value;
        let Some(node) = &mut self.machines[at].node else { return Ok(()) };
        // What is outside of what it holds, nobody writes there.
        if let Some(held) = scopes::held(node) {
            writes.retain(|write| held.contains(&write.row.key[0]));
            if writes.is_empty() {
                return Ok(());
            }
        }
        let (context, read) = session;
        // Whoever read something elsewhere that is not here has to wait; here it gives up.
        if let Ok(dot) = node.commit(now, ticket, context.clone(), writes) {
            self.tell(|| format!("client {client} writes {dot:?} at {at} after {context:?}"));
            self.machines[at].note(dot);
            return self.absorb(at, Some(&Asked { read }));
        }
        self.sights.saw(Sight::Behind);
        self.absorb(at, None)
    }

    fn draw_writes(&mut self) -> Vec<Write> {
        let first = self.rng.below(u64::from(KEYS)) as u8;
        let rows = 1 + (self.rng.below(3) / 2) as u8;
        let mut writes = Vec::new();
        for key in 0..rows {
            let deletes = self.rng.below(4) == 0;
            self.next_value += 1;
            let value = (!deletes).then(|| Bytes::copy_from_slice(&self.next_value.to_le_bytes()));
            writes.push(Write { row: row((first + key) % KEYS).clone(), value });
        }
        writes
    }
}

//! Transactions of writers who do not wait on a thread of their own.
//!
//! Owns nothing: who is to be told stands in the core. After a crash they are told nothing, and look.

use syncline_sync::live::{Context, Node, Write};

use super::core::Ticket;
use super::{Committed, Engine};
use crate::Result;

/// Is told what became of a transaction. Called under the engine's lock: it must not block, and must not call the engine.
pub type Done = Box<dyn FnOnce(Result<Committed>) + Send>;

impl Engine {
    /// As [`Engine::commit_with`], but returns at once: `done` is called when the transaction is durable. Transactions of one caller
    /// become durable in the order in which they were submitted.
    ///
    /// # Errors
    /// As [`Engine::commit`]; then `done` is not called.
    pub fn submit(
        &self,
        read: Option<Context>,
        write: impl FnOnce(&Node) -> Result<Vec<Write>>,
        done: Done,
    ) -> Result<()> {
        let mut core = self.lock()?;
        let ticket = self.begin(&mut core, read, write)?;
        core.tickets.insert(ticket, Ticket::Call(done));
        core.drain();
        if !core.led {
            self.shared.work.notify_one();
        }
        Ok(())
    }
}

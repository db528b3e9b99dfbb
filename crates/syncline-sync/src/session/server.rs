//! The server's side before it knows which side it is.

use super::{Fetcher, Local, Receiver, Sender, Served, Session, unexpected};
use crate::error::Result;
use crate::wire::{Message, Want};

enum State<'a> {
    Waiting,
    Sending(Box<Sender>),
    Receiving(Box<Receiver<'a>>),
    Fetching(Box<Fetcher>),
}

/// The server's side of any session.
pub struct Server<'a> {
    local: &'a dyn Local,
    state: State<'a>,
}

impl std::fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl<'a> Server<'a> {
    /// A server that has heard nothing yet.
    #[must_use]
    pub fn new(local: &'a dyn Local) -> Self {
        Self { local, state: State::Waiting }
    }

    /// What was served, once it is over.
    #[must_use]
    pub fn served(&self) -> Option<Served> {
        match &self.state {
            State::Waiting => None,
            State::Sending(sender) => sender.served(),
            State::Receiving(receiver) => receiver.served(),
            State::Fetching(fetcher) => fetcher.served(),
        }
    }

    fn session(&mut self) -> Option<&mut dyn Session> {
        match &mut self.state {
            State::Waiting => None,
            State::Sending(sender) => Some(&mut **sender),
            State::Receiving(receiver) => Some(&mut **receiver),
            State::Fetching(fetcher) => Some(&mut **fetcher),
        }
    }
}

impl Session for Server<'_> {
    fn receive(&mut self, message: Message) -> Result<()> {
        if let Some(session) = self.session() {
            return session.receive(message);
        }
        let Message::Hello { want, .. } = message else {
            return Err(unexpected(&message, "a hello was expected"));
        };
        self.state = match want {
            Want::Push { moves } => State::Receiving(Box::new(Receiver::push(self.local, moves)?)),
            Want::Fetch { ids } => State::Fetching(Box::new(Fetcher::serve(self.local, ids))),
            pull @ Want::Pull { .. } => State::Sending(Box::new(Sender::pull(self.local, pull)?)),
        };
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Message>> {
        self.session().map_or(Ok(None), Session::next)
    }

    fn is_over(&self) -> bool {
        match &self.state {
            State::Waiting => false,
            State::Sending(sender) => sender.is_over(),
            State::Receiving(receiver) => receiver.is_over(),
            State::Fetching(fetcher) => fetcher.is_over(),
        }
    }

    fn progress(&self) -> (u64, u64) {
        match &self.state {
            State::Waiting => (0, 0),
            State::Sending(sender) => sender.progress(),
            State::Receiving(receiver) => receiver.progress(),
            State::Fetching(fetcher) => fetcher.progress(),
        }
    }
    fn cut(&mut self) {
        if let Some(session) = self.session() {
            session.cut();
        }
    }
}

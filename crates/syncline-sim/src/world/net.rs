//! Connections: each way a queue of messages, which a cut empties. Messages cross as bytes now and then, which must not
//! change them.

use std::collections::VecDeque;

use syncline_base::rng::Rng;
use syncline_sync::live::Message;

/// One way of one connection, by sender and receiver.
#[derive(Debug, Clone, Default)]
struct Way {
    up: bool,
    queue: VecDeque<Message>,
}

/// All connections between some nodes.
#[derive(Debug)]
pub(super) struct Net {
    nodes: usize,
    ways: Vec<Way>,
    /// Messages on their way.
    flying: usize,
    /// Whether a message was lost, doubled or overtaken on a connection that stayed.
    unreliable: bool,
}

impl Net {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, ways: vec![Way::default(); nodes * nodes], flying: 0, unreliable: false }
    }

    fn way(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[from * self.nodes + to]
    }

    pub(super) fn is_up(&self, a: usize, b: usize) -> bool {
        self.ways[a * self.nodes + b].up
    }

    pub(super) fn set(&mut self, a: usize, b: usize, up: bool) {
        for (from, to) in [(a, b), (b, a)] {
            let way = self.way(from, to);
            way.up = up;
            let lost = std::mem::take(&mut way.queue).len();
            self.flying -= lost;
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let way = self.way(from, to);
        if way.up {
            way.queue.push_back(message);
            self.flying += 1;
        }
    }

    /// A way on which something is.
    pub(super) fn any(&self) -> Option<(usize, usize)> {
        if self.flying == 0 {
            return None;
        }
        let at = self.ways.iter().position(|way| !way.queue.is_empty())?;
        Some((at / self.nodes, at % self.nodes))
    }

    /// One of those on which something is.
    pub(super) fn some(&self, rng: &mut Rng) -> Option<(usize, usize)> {
        if self.flying == 0 {
            return None;
        }
        let start = usize::try_from(rng.below(self.ways.len() as u64)).unwrap_or_default();
        let at = (start..start + self.ways.len()).map(|at| at % self.ways.len());
        let at = at.into_iter().find(|at| !self.ways[*at].queue.is_empty())?;
        Some((at / self.nodes, at % self.nodes))
    }

    pub(super) fn take(&mut self, from: usize, to: usize) -> Option<Message> {
        let message = self.way(from, to).queue.pop_front()?;
        self.flying -= 1;
        Some(message)
    }

    /// Something that no good transport does: a message is lost, comes twice, or overtakes.
    pub(super) fn garble(&mut self, rng: &mut Rng) {
        let Some((from, to)) = self.some(rng) else { return };
        self.unreliable = true;
        let queue = &mut self.way(from, to).queue;
        let at = usize::try_from(rng.below(queue.len() as u64)).unwrap_or_default();
        match rng.below(3) {
            0 => {
                queue.remove(at);
                self.flying -= 1;
            }
            1 => {
                let again = queue[at].clone();
                queue.push_back(again);
                self.flying += 1;
            }
            _ => queue.swap(0, at),
        }
    }

    /// Whether it has done what no good transport does.
    pub(super) const fn is_unreliable(&self) -> bool {
        self.unreliable
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.ways.iter().flat_map(|way| &way.queue)
    }
}

//! Which hubs there are and which of them answer: the SWIM protocol, by the crate `foca`, as a state machine without I/O.
//!
//! This is the only module that knows that crate: what goes in are bytes and the time, what comes out are bytes, the time when it wants to be asked
//! again, and a list. What comes from others is looked at before the crate sees it: addresses that are not admitted, more members than [`MOST`], and
//! requests to talk to somebody who is no member are left.
//!
//! Owns: the members. After a crash: nothing is left of it; a new instance with a higher turn takes the place of the old one.
//!
//! Invariant: a member's address names it; its *turn* tells one life from the next.
//!
//! Not here: connections, files, and what is made of the list.

mod wire;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use foca::{Config, Foca, Identity, Message, NoCustomBroadcast, Notification, PeriodicParams, Runtime, Timer};
use syncline_base::rng::Rng;
use syncline_node::live::engine::MemberState as State;

use self::wire::{Id, Wire};
pub(crate) use self::wire::{LONGEST, Malformed};
use super::address::Address;

/// A dataset has no more hubs, as far as they know of each other.
pub(crate) const MOST: usize = 64;
/// A member that is gone is forgotten after so long.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// No turn is greater.
pub(crate) const LAST_TURN: u64 = 1 << 53;
/// When somebody else says that it is at this one's address, this one takes another turn, at most so often.
const AGAIN: Duration = Duration::from_secs(5);

/// Why a message was left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Left {
    /// It is none.
    #[error("it is no message of a member: {0}")]
    Malformed(#[from] Malformed),
    /// It is for somebody else.
    #[error("it is for {0}")]
    Elsewhere(String),
    /// Its sender's address is not believed, or there are too many members.
    #[error("its sender is not taken for a member")]
    NotAdmitted,
    /// It asks to talk to somebody who is no member.
    #[error("it is about somebody who is no member")]
    Stranger,
    /// It does not fit what is known.
    #[error("it does not fit: {0}")]
    Odd(String),
}

/// One member's view of all.
pub(crate) struct Swim {
    foca: Foca<Id, Wire, Dice, NoCustomBroadcast>,
    out: Out,
    /// When what is due, with a number that tells two of one moment apart.
    timers: BTreeMap<(Duration, u64), Timer<Id>>,
    /// Members that are to be forgotten, by address: one timer each, however often they come and go.
    forget: BTreeMap<Address, (Duration, Timer<Id>)>,
    next: u64,
    /// When this one took another turn because of somebody else at its address.
    disputed: Option<Duration>,
}

impl std::fmt::Debug for Swim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swim").field("me", self.foca.identity()).finish_non_exhaustive()
    }
}

/// What a crate that draws numbers is given.
#[derive(Debug)]
struct Dice(Rng);

impl rand_core::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::try_from(self.0.next_u64() >> 32).expect("32 bits are left"))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

/// What the protocol wants done.
#[derive(Debug, Default)]
struct Out {
    sends: Vec<(Address, Bytes)>,
    timers: Vec<(Timer<Id>, Duration)>,
}

impl Runtime<Id> for &mut Out {
    fn notify(&mut self, _: Notification<'_, Id>) {
        // The list of members says it all.
    }

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.sends.push((to.address, Bytes::copy_from_slice(data)));
    }

    fn submit_after(&mut self, event: Timer<Id>, after: Duration) {
        self.timers.push((event, after));
    }
}

impl Identity for Id {
    type Addr = Address;

    fn renew(&self) -> Option<Self> {
        (self.turn < LAST_TURN).then(|| Self { address: self.address.clone(), turn: self.turn + 1 })
    }

    fn addr(&self) -> Address {
        self.address.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.turn > adversary.turn
    }
}

/// Somebody is asked every 2 s whether it is there, through others after 0.8 s; who does not answer is suspect, and gone 4 s later unless it objects.
fn config() -> Config {
    let some = |n: usize| NonZeroUsize::new(n).expect("it is not zero");
    Config {
        probe_period: Duration::from_secs(2),
        probe_rtt: Duration::from_millis(800),
        num_indirect_probes: some(3),
        max_transmissions: NonZeroU8::new(10).expect("it is not zero"),
        suspect_to_down_after: Duration::from_secs(4),
        remove_down_after: Some(FORGOTTEN),
        max_packet_size: some(LONGEST),
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams { frequency: Duration::from_secs(30), num_members: some(1) }),
        // Whoever drives this does so, for it knows more addresses.
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams { frequency: Duration::from_millis(500), num_members: some(3) }),
    }
}

impl Swim {
    /// A member at `me`. `turn` has to be more than in its last life.
    pub(crate) fn new(me: Address, turn: u64, dice: Rng) -> Self {
        let me = Id { address: me, turn: turn.min(LAST_TURN) };
        Self {
            foca: Foca::new(me, config(), Dice(dice), Wire),
            out: Out::default(),
            timers: BTreeMap::new(),
            forget: BTreeMap::new(),
            next: 0,
            disputed: None,
        }
    }

    pub(crate) fn me(&self) -> &Address {
        &self.foca.identity().address
    }

    /// Who sends a message, as it says.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn sender(bytes: &[u8]) -> Result<Address, Left> {
        Ok(wire::decode(bytes)?.header.src.address)
    }

    /// Its turn.
    pub(crate) fn turn(&self) -> u64 {
        self.foca.identity().turn
    }

    /// Tells somebody that this one is there, and asks who else is.
    pub(crate) fn announce(&mut self, now: Duration, to: &Address) {
        if to != self.me() {
            let to = Id { address: to.clone(), turn: 0 };
            let done = self.foca.announce(to, &mut self.out);
            self.settle(now, done);
        }
    }

    /// A message came. With `join`, its sender does not know what this one calls itself.
    ///
    /// # Errors
    /// Why it was left.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        bytes: &[u8],
        join: bool,
        admits: impl Fn(&Address) -> bool,
    ) -> Result<(), Left> {
        let mut packet = wire::decode(bytes)?;
        if join && packet.header.message == Message::Announce {
            packet.header.dst = self.foca.identity().clone();
        }
        if packet.header.dst.address != *self.me() {
            return Err(Left::Elsewhere(packet.header.dst.address.to_string()));
        }
        let me = self.me().clone();
        let mut known: Vec<Address> = self.foca.iter_membership_state().map(|one| one.id().address.clone()).collect();
        let mut takes = |address: &Address| {
            if *address == me || known.contains(address) {
                return true;
            }
            // One of them is this one.
            let takes = known.len() + 1 < MOST && admits(address);
            if takes {
                known.push(address.clone());
            }
            takes
        };
        let src = &packet.header.src.address;
        if *src == me || !takes(src) {
            return Err(Left::NotAdmitted);
        }
        packet.members.retain(|member| takes(&member.id().address));
        match &packet.header.message {
            Message::PingReq { target: other, .. }
            | Message::IndirectPing { origin: other, .. }
            | Message::IndirectAck { target: other, .. }
            | Message::ForwardedAck { origin: other, .. }
                if other.address == me || !takes(&other.address) =>
            {
                return Err(Left::Stranger);
            }
            _ => {}
        }
        let later = packet.members.iter().map(|member| member.id()).filter(|id| id.address == me);
        let disputed = later.map(|id| id.turn).max().filter(|turn| *turn > self.turn());
        let done = self.foca.handle_data(&wire::encode(&packet), &mut self.out);
        let odd = done.as_ref().err().map(|error| Left::Odd(error.to_string()));
        self.settle(now, done);
        if let Some(turn) = disputed {
            self.dispute(now, turn);
        }
        odd.map_or(Ok(()), Err)
    }

    /// Somebody knows of a later turn of this one: of a life that this one does not remember, or of somebody else with the same address.
    fn dispute(&mut self, now: Duration, turn: u64) {
        if turn >= LAST_TURN || self.disputed.is_some_and(|before| now < before + AGAIN) {
            return;
        }
        if self.disputed.replace(now).is_some() {
            tracing::warn!(
                address = %self.me(),
                "another node says that it is at this address: give each node an address of its own (--advertise)"
            );
        }
        let me = Id { address: self.me().clone(), turn: turn + 1 };
        let done = self.foca.change_identity(me, &mut self.out);
        self.settle(now, done);
    }

    /// When it wants to be told the time.
    pub(crate) fn due(&self) -> Option<Duration> {
        let first = self.timers.keys().next().map(|(at, _)| *at);
        first.into_iter().chain(self.forget.values().map(|(at, _)| *at)).min()
    }

    /// It is `now`.
    pub(crate) fn tick(&mut self, now: Duration) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            let timer = entry.remove();
            let done = self.foca.handle_timer(timer, &mut self.out);
            self.settle(now, done);
        }
        let due: Vec<Address> =
            self.forget.iter().filter(|(_, (at, _))| *at <= now).map(|(address, _)| address.clone()).collect();
        for address in due {
            if let Some((_, timer)) = self.forget.remove(&address) {
                let done = self.foca.handle_timer(timer, &mut self.out);
                self.settle(now, done);
            }
        }
    }

    /// What is to be sent, and where.
    pub(crate) fn sends(&mut self) -> Vec<(Address, Bytes)> {
        std::mem::take(&mut self.out.sends)
    }

    /// The others.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Address, State)> {
        self.foca.iter_membership_state().map(|member| {
            let state = match member.state() {
                foca::State::Alive => State::Alive,
                foca::State::Suspect => State::Suspect,
                foca::State::Down => State::Gone,
            };
            (&member.id().address, state)
        })
    }

    /// Puts down what is to be done later.
    fn settle(&mut self, now: Duration, done: Result<(), foca::Error>) {
        if let Err(error) = done {
            tracing::debug!(%error, "a step of the membership protocol was left");
        }
        for (timer, after) in std::mem::take(&mut self.out.timers) {
            match timer {
                Timer::RemoveDown(id) => {
                    let address = id.address.clone();
                    self.forget.insert(address, (now + after, Timer::RemoveDown(id)));
                }
                timer => {
                    self.next += 1;
                    self.timers.insert((now + after, self.next), timer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

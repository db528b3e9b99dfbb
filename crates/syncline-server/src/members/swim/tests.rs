//! Members in memory, on a network that loses and cuts, on a clock of its own.

use super::*;

const STEP: Duration = Duration::from_millis(50);

/// Members, by number, and what is between them.
struct World {
    members: Vec<Option<Swim>>,
    now: Duration,
    rng: Rng,
    /// Of a hundred messages so many are lost.
    loss: u64,
    /// Who is on which side of a cut.
    sides: Vec<u8>,
    /// On their way: when they come, to whom, what.
    flying: Vec<(Duration, usize, usize, Bytes)>,
    longest: usize,
    sent: u64,
}

fn address(nth: usize) -> Address {
    Address::parse(&format!("https://hub-{nth}.example:7070/shop")).unwrap()
}

impl World {
    fn new(count: usize, seed: u64) -> Self {
        let members = (0..count).map(|nth| Some(Self::member(nth, 1_000, seed))).collect();
        Self {
            members,
            now: Duration::ZERO,
            rng: Rng::from_seed(seed),
            loss: 0,
            sides: vec![0; count],
            flying: Vec::new(),
            longest: 0,
            sent: 0,
        }
    }

    fn member(nth: usize, turn: u64, seed: u64) -> Swim {
        Swim::new(address(nth), turn, Rng::from_seed(seed ^ (nth as u64) << 32))
    }

    fn announce(&mut self, from: usize, to: usize) {
        let now = self.now;
        self.members[from].as_mut().unwrap().announce(now, &address(to));
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            for from in 0..self.members.len() {
                let Some(member) = &mut self.members[from] else { continue };
                member.tick(self.now);
                for (to, body) in member.sends() {
                    self.longest = self.longest.max(body.len());
                    self.sent += 1;
                    let to = (0..self.members.len()).find(|nth| address(*nth) == to);
                    let delay = Duration::from_millis(self.rng.below(100));
                    if let Some(to) = to.filter(|_| self.rng.below(100) >= self.loss) {
                        self.flying.push((self.now + delay, from, to, body));
                    }
                }
            }
            let (come, flying) = std::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= self.now);
            self.flying = flying;
            let come: Vec<(Duration, usize, usize, Bytes)> = come;
            for (_, from, to, body) in come {
                if self.sides[from] == self.sides[to]
                    && let Some(member) = &mut self.members[to]
                {
                    // What it is about may be over.
                    let _ = member.receive(self.now, &body, false, |_| true);
                }
            }
        }
    }

    /// Announces to those who are gone, as whoever drives members does.
    fn run_with_announces(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            for from in 0..self.members.len() {
                let Some(member) = &self.members[from] else { continue };
                let gone: Vec<Address> =
                    member.members().filter(|(_, is)| *is == State::Gone).map(|(at, _)| at.clone()).collect();
                let now = self.now;
                for to in gone {
                    self.members[from].as_mut().unwrap().announce(now, &to);
                }
            }
            self.run(Duration::from_secs(10));
        }
    }

    fn sees(&self, who: usize, whom: usize) -> Option<State> {
        let mut members = self.members[who].as_ref().unwrap().members();
        members.find(|(at, _)| **at == address(whom)).map(|(_, is)| is)
    }

    /// Whether all who run see all others so.
    fn all(&self, is: impl Fn(usize, usize, Option<State>) -> bool) -> bool {
        let runs = |nth: &usize| self.members[*nth].is_some();
        (0..self.members.len()).filter(runs).all(|who| {
            (0..self.members.len()).filter(|whom| *whom != who).all(|whom| is(who, whom, self.sees(who, whom)))
        })
    }
}

#[test]
fn who_knows_one_comes_to_know_all() {
    for seed in 0..5 {
        let mut world = World::new(12, seed);
        world.loss = 10;
        for nth in 1..12 {
            // Each knows the one before it. What is lost is told again, as whoever drives this does.
            world.announce(nth, nth - 1);
            world.announce(nth, nth - 1);
            world.announce(nth, nth - 1);
        }
        world.run(Duration::from_secs(60));
        assert!(world.all(|_, _, is| is == Some(State::Alive)), "seed {seed}");
        assert!(world.longest <= LONGEST);
    }
}

#[test]
fn who_is_dead_is_found_dead_soon_and_comes_back_with_another_turn() {
    for seed in 0..10 {
        let mut world = World::new(5, seed);
        (1..5).for_each(|nth| world.announce(nth, 0));
        world.run(Duration::from_secs(30));
        world.loss = 5;
        world.members[0] = None;
        let mut took = 0;
        while !world.all(|_, whom, is| whom != 0 || is == Some(State::Gone)) {
            world.run(Duration::from_secs(1));
            took += 1;
            assert!(took <= 25, "seed {seed}: it is not found dead");
        }
        // Those who live are not taken for dead.
        assert!(world.all(|_, whom, is| whom == 0 || is != Some(State::Gone)), "seed {seed}");
        world.members[0] = Some(World::member(0, 2_000, seed));
        world.announce(0, 1);
        world.announce(0, 2);
        world.announce(0, 3);
        world.announce(0, 4);
        world.run(Duration::from_secs(20));
        assert!(world.all(|_, _, is| is == Some(State::Alive)), "seed {seed}");
    }
}

#[test]
fn both_sides_of_a_cut_find_each_other_again() {
    for seed in 0..5 {
        let mut world = World::new(6, seed);
        (1..6).for_each(|nth| world.announce(nth, 0));
        world.run(Duration::from_secs(20));
        world.sides = vec![0, 0, 0, 1, 1, 1];
        world.run(Duration::from_secs(90));
        assert!(
            world.all(|who, whom, is| is == Some(if (who < 3) == (whom < 3) { State::Alive } else { State::Gone }))
        );
        world.sides = vec![0; 6];
        world.run_with_announces(Duration::from_secs(60));
        assert!(world.all(|_, _, is| is == Some(State::Alive)), "seed {seed}");
    }
}

#[test]
fn somebody_who_lost_everyone_is_found_again() {
    let mut world = World::new(3, 1);
    (1..3).for_each(|nth| world.announce(nth, 0));
    world.run(Duration::from_secs(20));
    world.sides = vec![0, 0, 1];
    world.run(Duration::from_secs(120));
    assert!(world.all(|who, whom, is| is == Some(if (who == 2) == (whom == 2) { State::Alive } else { State::Gone })));
    world.sides = vec![0; 3];
    world.run_with_announces(Duration::from_secs(40));
    assert!(world.all(|_, _, is| is == Some(State::Alive)));
}

#[test]
fn who_is_gone_for_a_day_is_forgotten() {
    let mut world = World::new(3, 3);
    (1..3).for_each(|nth| world.announce(nth, 0));
    world.run(Duration::from_secs(20));
    world.members[2] = None;
    world.run(Duration::from_secs(60));
    assert_eq!(world.sees(0, 2), Some(State::Gone));
    world.now += FORGOTTEN;
    world.run(Duration::from_secs(60));
    assert_eq!((world.sees(0, 2), world.sees(1, 2)), (None, None));
}

#[test]
fn idle_members_say_little() {
    let mut world = World::new(4, 5);
    (1..4).for_each(|nth| world.announce(nth, 0));
    world.run(Duration::from_secs(60));
    let before = world.sent;
    world.run(Duration::from_secs(100));
    // A ping and its answer every two seconds each, and an announcement with its answer every thirty.
    assert!(world.sent - before < 4 * 100 * 2, "{} messages", world.sent - before);
}

/// A message of `from` to member 0 of a world.
fn message(from: usize, message: Message<Id>, members: Vec<foca::Member<Id>>) -> Vec<u8> {
    let id = |nth: usize| Id { address: address(nth), turn: 1_000 };
    let header = foca::Header { src: id(from), src_incarnation: 0, dst: id(0), message };
    wire::encode(&wire::Packet { header, members })
}

fn someone(port: usize) -> foca::Member<Id> {
    let address = Address::parse(&format!("https://10.0.{}.{}:1/shop", port / 250, port % 250)).unwrap();
    foca::Member::alive(Id { address, turn: 1 })
}

#[test]
fn members_are_so_many_and_no_more() {
    let mut one = World::member(0, 1_000, 1);
    for round in 0..10 {
        let told = (0..100).map(|nth| someone(round * 100 + nth)).collect();
        one.receive(Duration::ZERO, &message(1, Message::Gossip, told), false, |_| true).unwrap();
    }
    assert_eq!(one.members().count(), MOST - 1);
    let known = one.receive(Duration::ZERO, &message(1, Message::Gossip, Vec::new()), false, |_| true);
    assert_eq!(known, Ok(()));
    let stranger = one.receive(Duration::ZERO, &message(2, Message::Announce, Vec::new()), false, |_| true);
    assert_eq!(stranger, Err(Left::NotAdmitted), "there is no room");
    for _ in 0..100 {
        one.tick(Duration::from_secs(3600));
        for (_, body) in one.sends() {
            assert!(body.len() <= LONGEST);
        }
    }
}

#[test]
fn what_is_not_admitted_is_not_talked_to() {
    let mut one = World::member(0, 1_000, 1);
    let admits = |at: &Address| !at.as_str().starts_with("https://10.");
    one.receive(Duration::ZERO, &message(1, Message::Gossip, vec![someone(7)]), false, admits).unwrap();
    assert_eq!(one.members().count(), 1);
    let target = someone(8).id().clone();
    let asked = message(1, Message::PingReq { target, probe_number: 1 }, Vec::new());
    assert_eq!(one.receive(Duration::ZERO, &asked, false, admits), Err(Left::Stranger));
    assert!(one.sends().iter().all(|(to, _)| admits(to)));
}

#[test]
fn what_is_for_somebody_else_is_left_unless_it_joins() {
    let mut one = World::member(0, 1_000, 1);
    let to_other = {
        let id = |nth: usize| Id { address: address(nth), turn: 0 };
        let header = foca::Header { src: id(1), src_incarnation: 0, dst: id(9), message: Message::Announce };
        wire::encode(&wire::Packet { header, members: Vec::new() })
    };
    let left = one.receive(Duration::ZERO, &to_other, false, |_| true);
    assert!(matches!(left, Err(Left::Elsewhere(_))), "{left:?}");
    assert_eq!(one.members().count(), 0);
    // Whoever was given an address may call it otherwise than it does itself.
    one.receive(Duration::ZERO, &to_other, true, |_| true).unwrap();
    assert_eq!(one.members().collect::<Vec<_>>(), [(&address(1), State::Alive)]);
}

#[test]
fn a_later_life_that_is_not_remembered_is_outlived() {
    let mut world = World::new(3, 9);
    (1..3).for_each(|nth| world.announce(nth, 0));
    world.run(Duration::from_secs(20));
    // Its clock and its file are gone: it begins with a turn that is over.
    world.members[2] = Some(World::member(2, 10, 77));
    for _ in 0..6 {
        world.announce(2, 0);
        world.announce(2, 1);
        world.run(Duration::from_secs(10));
    }
    assert!(world.all(|_, _, is| is == Some(State::Alive)));
    assert!(world.members[2].as_ref().unwrap().turn() > 10);
}

#[test]
fn no_messages_make_it_fail() {
    let mut rng = Rng::from_seed(5);
    let mut world = World::new(3, 2);
    (1..3).for_each(|nth| world.announce(nth, 0));
    world.run(Duration::from_secs(10));
    let id = |rng: &mut Rng| Id { address: address(usize::try_from(rng.below(5)).unwrap()), turn: 999 + rng.below(3) };
    let mut now = world.now;
    let one = world.members[0].as_mut().unwrap();
    for _ in 0..20_000 {
        let probe = u8::try_from(rng.below(4)).unwrap();
        let other = id(&mut rng);
        let message = match rng.below(10) {
            0 => Message::Ping(probe),
            1 => Message::Ack(probe),
            2 => Message::PingReq { target: other, probe_number: probe },
            3 => Message::IndirectPing { origin: other, probe_number: probe },
            4 => Message::IndirectAck { target: other, probe_number: probe },
            5 => Message::ForwardedAck { origin: other, probe_number: probe },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::TurnUndead,
            _ => Message::Gossip,
        };
        let members = if matches!(message, Message::Announce | Message::TurnUndead) { 0 } else { rng.below(4) };
        let members = (0..members).map(|_| {
            let is = [foca::State::Alive, foca::State::Suspect, foca::State::Down];
            let is = is[usize::try_from(rng.below(3)).unwrap()];
            foca::Member::new(id(&mut rng), u16::try_from(rng.below(3)).unwrap(), is)
        });
        let members = members.collect();
        let header = foca::Header { src: id(&mut rng), src_incarnation: 1, dst: id(&mut rng), message };
        let _ = one.receive(now, &wire::encode(&wire::Packet { header, members }), rng.below(5) == 0, |_| true);
        now += Duration::from_millis(rng.below(400));
        one.tick(now);
        one.sends();
        assert!(one.timers.len() < 1_000 && one.forget.len() < MOST, "{} {}", one.timers.len(), one.forget.len());
    }
}

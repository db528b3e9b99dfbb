//! The scenes: what is done to the network and the nodes while clients work. Each has to show that its trouble took place.

use std::time::Duration;

use anyhow::{Result, ensure};
use syncline_base::{Clock, SystemClock};

use super::frail;
use super::link::Rule;
use super::switch::Packets;
use super::world::{FAR, SMALL, World};

/// A scene.
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Only with `--all`.
    pub(super) long: bool,
    /// The network stays as it is until all have one root.
    pub(super) lasts: bool,
    /// On machines whose power fails and whose clocks jump.
    pub(super) frail: bool,
    /// Clocks jump, here and in scenes after it.
    pub(super) clocks: bool,
    /// Does it for so long, and says what it did.
    pub(super) play: fn(&mut World, Duration) -> Result<String>,
    /// Whether the packets bear it out.
    pub(super) shows: fn(Packets) -> Result<()>,
}

/// All scenes, in their order.
pub(super) const SCENES: &[Scene] = &[
    Scene {
        name: "weather",
        what: "20 to 30 ms of delay, 2 % of packets lost, 5 % overtaking, everywhere",
        long: false,
        lasts: true,
        frail: false,
        clocks: false,
        play: weather,
        shows: lost_and_overtook,
    },
    Scene {
        name: "one-way",
        what: "hubs that hear and are not heard, two at a time and then around in a circle",
        long: false,
        lasts: false,
        frail: false,
        clocks: false,
        play: one_way,
        shows: were_cut,
    },
    Scene {
        name: "slow",
        what: "a spoke behind 256 kbit/s and 80 ms, which stays so until it has everything",
        long: false,
        lasts: true,
        frail: false,
        clocks: false,
        play: slow,
        shows: were_slowed,
    },
    Scene {
        name: "kills",
        what: "hubs and spokes killed while they write",
        long: false,
        lasts: false,
        frail: false,
        clocks: false,
        play: kills,
        shows: |_| Ok(()),
    },
    Scene {
        name: "full",
        what: "the disk of a hub is full, and then is not",
        long: false,
        lasts: false,
        frail: false,
        clocks: false,
        play: full,
        shows: |_| Ok(()),
    },
    Scene {
        name: "split",
        what: "a hub and its spoke cut off from all others, one hub after the other",
        long: true,
        lasts: false,
        frail: false,
        clocks: false,
        play: split,
        shows: were_cut,
    },
    Scene {
        name: "storm",
        what: "weather, one-way cuts, a slow line and kills together",
        long: true,
        lasts: false,
        frail: false,
        clocks: false,
        play: storm,
        shows: lost_and_overtook,
    },
    Scene {
        name: "power",
        what: "machines lose their power while they write, one, some or all at once, and with it what was not synced",
        long: false,
        lasts: false,
        frail: true,
        clocks: false,
        play: frail::power,
        shows: |_| Ok(()),
    },
    Scene {
        name: "clocks",
        what: "wall clocks jump by an hour and by ten days, ahead and back, while nodes run and between two starts",
        long: false,
        lasts: false,
        frail: true,
        clocks: true,
        play: frail::clocks,
        shows: |_| Ok(()),
    },
];

/// Delay, jitter, loss and packets that overtake.
const WEATHER: Rule = Rule {
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(10),
    loss: 200,
    overtake: 500,
    rate: None,
    cut: false,
};
const CUT: Rule = Rule { delay: Duration::ZERO, jitter: Duration::ZERO, loss: 0, overtake: 0, rate: None, cut: true };
const SLOW: Rule = Rule {
    delay: Duration::from_millis(40),
    jitter: Duration::ZERO,
    loss: 0,
    overtake: 0,
    rate: Some(256_000),
    cut: false,
};

fn lost_and_overtook(packets: Packets) -> Result<()> {
    ensure!(packets.lost > 0 && packets.overtook > 0, "no packet was lost, or none overtook: {packets:?}");
    Ok(())
}

fn were_cut(packets: Packets) -> Result<()> {
    ensure!(packets.cut > 0, "no packet met the cut: {packets:?}");
    Ok(())
}

fn were_slowed(packets: Packets) -> Result<()> {
    ensure!(packets.slowed > 0, "no packet took the slow line: {packets:?}");
    Ok(())
}

fn weather(world: &mut World, time: Duration) -> Result<String> {
    world.switch.all(WEATHER);
    SystemClock.sleep(time);
    Ok("bad weather".to_owned())
}

fn one_way(world: &mut World, time: Duration) -> Result<String> {
    world.switch.line(0, 1, CUT);
    SystemClock.sleep(time / 3);
    world.switch.line(1, 2, CUT);
    world.switch.line(2, 0, CUT);
    SystemClock.sleep(time / 3);
    world.switch.all(Rule::default());
    // The other way, between a hub and a spoke of it, too.
    world.switch.line(1, 0, CUT);
    world.switch.line(0, FAR, CUT);
    SystemClock.sleep(time / 3);
    Ok("five one-way cuts".to_owned())
}

fn slow(world: &mut World, time: Duration) -> Result<String> {
    world.switch.around(FAR, SLOW);
    SystemClock.sleep(time);
    Ok("256 kbit/s".to_owned())
}

fn kills(world: &mut World, time: Duration) -> Result<String> {
    let until = SystemClock.monotonic() + time;
    let mut count = [0, 0];
    while SystemClock.monotonic() < until || count.contains(&0) {
        let victim = below(world, world.nodes.len());
        SystemClock.sleep(Duration::from_millis(200 + below(world, 400) as u64));
        ensure!(world.nodes[victim].runs(), "{} has ended by itself", world.nodes[victim].name);
        world.nodes[victim].kill();
        count[usize::from(victim > SMALL)] += 1;
        SystemClock.sleep(Duration::from_millis(below(world, 500) as u64));
        world.nodes[victim].start()?;
    }
    Ok(format!("{} hubs and {} spokes killed", count[0], count[1]))
}

fn full(world: &mut World, time: Duration) -> Result<String> {
    let ballast = world.fill()?;
    let begun = SystemClock.monotonic();
    // Large rows: a log has some room in files that it has made already, and small ones still fit there.
    let mut refused = 0;
    let until = begun + time / 2;
    while refused == 0 || SystemClock.monotonic() < until {
        ensure!(SystemClock.monotonic() - begun < Duration::from_secs(30), "no write has failed on a full disk");
        refused += usize::from(world.write_small(1 << 20)?.is_some());
        world.fill()?;
    }
    // A node that ends when its disk is full does no harm; it is started again, as a service would be.
    let ended = if world.nodes[SMALL].runs() { "went on" } else { "ended" };
    std::fs::remove_file(&ballast)?;
    world.restart()?;
    SystemClock.sleep(time / 2);
    let begun = SystemClock.monotonic();
    while let Some(why) = world.write_small(1 << 12)? {
        let waited = SystemClock.monotonic() - begun;
        ensure!(waited < Duration::from_secs(30), "there is space again, and writes still fail: {why}");
        SystemClock.sleep(Duration::from_millis(100));
    }
    let said = world.nodes[SMALL].said()?;
    ensure!(said.contains("No space left on device"), "the disk was full, and the hub does not say so: {said}");
    Ok(format!("a full disk: the hub refused {refused} large rows, said why and {ended}"))
}

fn split(world: &mut World, time: Duration) -> Result<String> {
    for hub in 0..=SMALL {
        let camp = [hub, hub + SMALL + 1];
        for (from, to) in (0..world.nodes.len()).flat_map(|from| (0..world.nodes.len()).map(move |to| (from, to))) {
            let rule = if camp.contains(&from) == camp.contains(&to) { Rule::default() } else { CUT };
            world.switch.line(from, to, rule);
        }
        SystemClock.sleep(time / 3);
    }
    Ok("three splits".to_owned())
}

fn storm(world: &mut World, time: Duration) -> Result<String> {
    let until = SystemClock.monotonic() + time;
    let mut count = 0;
    while SystemClock.monotonic() < until {
        world.switch.all(WEATHER);
        world.switch.around(FAR, Rule { loss: 100, ..SLOW });
        let (from, to) = (below(world, world.nodes.len()), below(world, world.nodes.len()));
        world.switch.line(from, to, CUT);
        SystemClock.sleep(Duration::from_millis(1000 + below(world, 2000) as u64));
        let victim = below(world, world.nodes.len());
        world.nodes[victim].kill();
        count += 1;
        SystemClock.sleep(Duration::from_millis(below(world, 2000) as u64));
        world.nodes[victim].start()?;
    }
    Ok(format!("{count} nodes killed in bad weather"))
}

pub(super) fn below(world: &mut World, n: usize) -> usize {
    usize::try_from(world.rng.below(n as u64)).unwrap_or_default()
}

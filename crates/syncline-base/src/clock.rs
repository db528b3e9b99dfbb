//! Time: the only door to the wall clock and the monotonic clock.
//!
//! `Clock` is what production code is given; tests and simulations give it a clock of their own. `HlcClock` makes
//! hybrid logical timestamps from any clock. Source: "Logical Physical Clocks and Consistent Snapshots in Globally
//! Distributed Databases" (Kulkarni, Demirbas, Madappa, Avva, Leone, 2014).
//!
//! After a crash: an `HlcClock` starts again from the wall clock; the caller feeds it the newest timestamp it has
//! stored (`HlcClock::observe`) before it stamps anything.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch. May jump in either direction.
    fn now_ms(&self) -> u64;

    /// Time since some fixed point, that during which the machine slept with it. Never goes back. For measuring how long something took.
    fn monotonic(&self) -> Duration;

    /// Waits. A simulated clock returns at once and moves itself forward.
    fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the door to the wall clock")]
impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<Duration> = std::sync::OnceLock::new();
        // An `Instant` stands still while the machine sleeps, and what is an hour old would be new.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let part = |is: i64| u64::try_from(is).unwrap_or_default();
        let now = Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec));
        now.saturating_sub(*START.get_or_init(|| now))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A hybrid logical timestamp: 48 bits of Unix milliseconds, then a 16-bit counter. Ordered by time, then counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(u64);

impl Hlc {
    /// From its 64-bit form.
    #[must_use]
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }

    /// Its 64-bit form.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The first timestamp of a millisecond.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms << 16)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// Position among the timestamps of the same millisecond.
    #[must_use]
    pub const fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// Makes timestamps that only grow, even when the wall clock goes back.
#[derive(Debug, Default)]
pub struct HlcClock {
    last: Mutex<Hlc>,
}

impl HlcClock {
    /// A clock that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the clock to at least `seen`, so that what is stamped next is later.
    pub fn observe(&self, seen: Hlc) {
        let mut last = self.last.lock().expect("no code panics while it holds the clock");
        *last = (*last).max(seen);
    }

    /// The next timestamp: later than any before it, and at least the wall clock.
    pub fn stamp(&self, clock: &dyn Clock) -> Hlc {
        let mut last = self.last.lock().expect("no code panics while it holds the clock");
        *last = Hlc::from_ms(clock.now_ms()).max(Hlc(last.0.saturating_add(1)));
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u64);

    impl Clock for Fixed {
        fn now_ms(&self) -> u64 {
            self.0
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
        fn sleep(&self, _: Duration) {}
    }

    #[test]
    fn stamps_grow_while_the_wall_clock_stands_still_or_goes_back() {
        let hlc = HlcClock::new();
        let first = hlc.stamp(&Fixed(1_000));
        let second = hlc.stamp(&Fixed(1_000));
        let third = hlc.stamp(&Fixed(10));
        assert_eq!((first.ms(), first.counter()), (1_000, 0));
        assert!(first < second && second < third);
        assert_eq!(third.ms(), 1_000);
    }

    #[test]
    fn stamps_follow_what_was_observed() {
        let hlc = HlcClock::new();
        hlc.observe(Hlc::from_ms(5_000));
        assert!(hlc.stamp(&Fixed(1)) > Hlc::from_ms(5_000));
    }
}

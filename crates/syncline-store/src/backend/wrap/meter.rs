//! Counting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use syncline_base::Clock;

use super::{Call, Layer, Op};
use crate::error::Result;

/// What calls of one kind came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many there were.
    pub calls: u64,
    /// How many failed.
    pub errors: u64,
    /// Bytes sent or asked for.
    pub bytes: u64,
    /// Time they took together.
    pub time: Duration,
}

/// Counts calls, bytes, errors and time.
#[derive(Debug)]
pub struct Meter {
    clock: Arc<dyn Clock>,
    counts: Mutex<BTreeMap<Op, Counts>>,
}

impl Meter {
    /// A meter that has counted nothing.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counts: Mutex::default() }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Op, Counts> {
        self.counts.lock().expect("no code panics while it counts").clone()
    }
}

impl Layer for Meter {
    fn around<T>(&self, call: Call<'_>, run: &dyn Fn() -> Result<T>) -> Result<T> {
        let start = self.clock.monotonic();
        let result = run();
        let time = self.clock.monotonic().saturating_sub(start);
        let mut counts = self.counts.lock().expect("no code panics while it counts");
        let counts = counts.entry(call.op).or_default();
        counts.calls += 1;
        counts.errors += u64::from(result.is_err());
        counts.bytes += call.bytes;
        counts.time += time;
        result
    }
}

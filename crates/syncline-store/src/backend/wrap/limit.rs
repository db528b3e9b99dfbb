//! Going slower than one could.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use syncline_base::Clock;

use super::{Call, Layer};
use crate::error::Result;

/// Keeps the bytes that are read and written below a rate. A second's worth may go at once.
#[derive(Debug)]
pub struct Limit {
    clock: Arc<dyn Clock>,
    bytes_per_second: u64,
    /// When everything asked for so far would be through at exactly the rate.
    due: Mutex<Duration>,
}

impl Limit {
    /// At most so many bytes in a second.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, bytes_per_second: u64) -> Self {
        Self { clock, bytes_per_second: bytes_per_second.max(1), due: Mutex::default() }
    }
}

impl Layer for Limit {
    fn around<T>(&self, call: Call<'_>, run: &dyn Fn() -> Result<T>) -> Result<T> {
        let now = self.clock.monotonic();
        let takes = Duration::from_nanos(
            u64::try_from(u128::from(call.bytes) * 1_000_000_000 / u128::from(self.bytes_per_second))
                .unwrap_or(u64::MAX),
        );
        let wait = {
            let mut due = self.due.lock().expect("no code panics while it holds the time");
            *due = (*due).max(now.saturating_sub(Duration::from_secs(1))).saturating_add(takes);
            due.saturating_sub(now)
        };
        if !wait.is_zero() {
            self.clock.sleep(wait);
        }
        run()
    }
}

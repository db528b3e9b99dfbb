//! Trying again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use syncline_base::Clock;
use syncline_base::rng::Rng;

use super::{Call, Layer};
use crate::error::Result;

/// Tries calls again that failed with `unavailable`, after pauses that double and vary.
///
/// Every call of a backend may be made again: `put` may say `conflict` if the first try took effect after all, `publish` and
/// `swap` recognise their own bytes.
#[derive(Debug)]
pub struct Retry {
    clock: Arc<dyn Clock>,
    tries: u32,
    first_ms: u64,
    rng: Mutex<Rng>,
}

impl Retry {
    /// At most `tries` tries, the first pause about `first_ms` long.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, tries: u32, first_ms: u64, rng: Rng) -> Self {
        Self { clock, tries, first_ms, rng: Mutex::new(rng) }
    }
}

impl Layer for Retry {
    fn around<T>(&self, call: Call<'_>, run: &dyn Fn() -> Result<T>) -> Result<T> {
        let mut pause_ms = self.first_ms.max(1);
        for attempt in 1.. {
            match run() {
                Err(error) if error.kind().is_retryable() && attempt < self.tries => {
                    tracing::debug!(?call, %error, attempt, "trying again");
                    let spread = self.rng.lock().expect("no code panics while it draws a number").below(pause_ms);
                    self.clock.sleep(Duration::from_millis(pause_ms / 2 + spread));
                    pause_ms = (pause_ms * 2).min(10_000);
                }
                other => return other,
            }
        }
        run()
    }
}

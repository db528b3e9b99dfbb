//! Progress bars, on a terminal only.
//!
//! Owns: the bar of the current stage, one for the process. It is cleared when the work ends, so that a report stands
//! alone, and when the command is interrupted.

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use syncline_node::progress::{Progress, Silent, Unit};

use crate::output::Output;

/// Bars when somebody watches, silence otherwise.
pub(crate) fn of(output: Output) -> Arc<dyn Progress> {
    if output.is_watched() { Arc::new(Bars) } else { Arc::new(Silent) }
}

static CURRENT: Mutex<Option<ProgressBar>> = Mutex::new(None);

struct Bars;

/// Takes the bar off the terminal.
pub(crate) fn clear() {
    if let Some(bar) = CURRENT.lock().unwrap_or_else(PoisonError::into_inner).take() {
        bar.finish_and_clear();
    }
}

impl Progress for Bars {
    fn stage(&self, what: &str, total: u64, unit: Unit) {
        let bar = ProgressBar::with_draw_target((total > 0).then_some(total), ProgressDrawTarget::stderr());
        bar.set_style(style(total > 0, unit));
        bar.set_message(what.to_owned());
        // A panic elsewhere leaves a bar behind, not a wrong one.
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = current.replace(bar) {
            old.finish_and_clear();
        }
    }

    fn advance(&self, amount: u64) {
        if let Some(bar) = &*CURRENT.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(amount);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        clear();
    }
}

fn style(known: bool, unit: Unit) -> ProgressStyle {
    let template = match (known, unit) {
        (true, Unit::Bytes) => {
            "{msg:<12} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}"
        }
        (true, _) => "{msg:<12} [{bar:30}] {human_pos}/{human_len} {per_sec} {eta}",
        (false, Unit::Bytes) => "{msg:<12} {decimal_bytes} {decimal_bytes_per_sec} {elapsed}",
        (false, _) => "{msg:<12} {human_pos} {per_sec} {elapsed}",
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are tested");
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for unit in [Unit::Bytes, Unit::Rows, Unit::Files, Unit::Objects] {
            let _ = style(true, unit);
            let _ = style(false, unit);
        }
    }

    #[test]
    fn nobody_watching_means_no_bars() {
        let bars = Bars;
        // Without a stage there is nothing to advance, and nothing breaks.
        bars.advance(5);
        assert!(CURRENT.lock().expect("no panic").is_none());
    }
}

//! Ctrl-C on a terminal: the bar goes, one line says what that means, and the command ends with exit code 130.
//!
//! Nothing has to be put in order: a verb is whole or has left nothing but garbage, whenever it is cut. Owns: the thread
//! that waits for the signal, as long as the process lives.

use syncline_base::task;
use syncline_node::Location;

use crate::context::Context;
use crate::progress;

/// What shells report for a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Waits for Ctrl-C in the background, when somebody watches.
pub(crate) fn watch(context: &Context, verb: &'static str) {
    // A node stops by itself when it is interrupted, and lets its clients end.
    if verb == "up" || !context.out.is_watched() {
        return;
    }
    let elsewhere = match context.location() {
        Ok(Location::Node(url)) => Some(url),
        _ => None,
    };
    let wait = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_err() {
            return;
        }
        progress::clear();
        match elsewhere {
            Some(url) => eprintln!(
                "{verb}: interrupted; what the node had not published it drops: see `syncline log --on {url}`"
            ),
            None => eprintln!("{verb}: interrupted; nothing was changed by halves, run it again"),
        }
        std::process::exit(INTERRUPTED);
    };
    // Without the thread the system ends the process, less tidily.
    let _ = task::spawn("syncline-interrupt", wait);
}

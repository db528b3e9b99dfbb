//! `cargo xtask net` where there are no network namespaces: it says so.

use anyhow::{Result, bail};

/// Options of `cargo xtask net`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {}

/// Fails: nothing is skipped in silence.
pub(crate) fn run(_: &Args) -> Result<()> {
    bail!("`cargo xtask net` needs network namespaces and TUN devices, which Linux has: run it there")
}

/// Whether this machine lets us run the scenes: it does not.
pub(crate) fn possible() -> Result<()> {
    run(&Args {})
}

/// Whether it could have machines whose power fails and whose clocks jump: it could not.
pub(crate) fn frail_possible() -> Result<()> {
    run(&Args {})
}

/// Never asked for: see [`possible`].
pub(crate) fn check() -> Result<()> {
    run(&Args {})
}

//! Programs that chores need and the repository does not hold: built once, into a cache outside the source tree.
//!
//! Owns: the cache directory, which any run may use again. A program gets its place only when it is complete.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::run;

/// The dependency checker, and the version that `deny.toml` is written for.
const DENY: (&str, &str) = ("cargo-deny", "0.20.2");

/// The directory for what chores need and the repository does not hold.
pub(crate) fn cache() -> Result<PathBuf> {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME says where to cache")?.join("syncline-dev"))
}

/// The dependency checker, built on first use. That takes some minutes.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let (name, version) = DENY;
    let place = cache()?.join(format!("{name}-{version}"));
    let program = place.join("bin").join(name);
    if !program.is_file() {
        eprintln!("building {name} {version} once, into {}", place.display());
        let mut cargo = run::cargo();
        // It runs for seconds: a debug build is there sooner.
        cargo.args(["install", name, "--version", version, "--locked", "--debug", "--root"]).arg(&place);
        cargo.env("CARGO_TARGET_DIR", place.join("build")).env("CARGO_PROFILE_DEV_DEBUG", "0");
        run::check(cargo.current_dir(std::env::temp_dir()))?;
        let build = place.join("build");
        std::fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))?;
    }
    Ok(program)
}

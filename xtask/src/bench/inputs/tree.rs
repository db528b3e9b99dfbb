//! Trees of many small files of random bytes, a hundred to a directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syncline_base::rng::Rng;

const SEED: u64 = 0xf11e_7ee5;
const PER_DIRECTORY: u64 = 100;
/// How the name of every directory begins.
pub(in super::super) const PREFIX: &str = "dir-";

/// Writes `count` files of `size` bytes below `dir`.
pub(in super::super) fn write(dir: &Path, count: u64, size: usize) -> Result<()> {
    let mut bytes = vec![0; size];
    for at in 0..count {
        let path = dir.join(place(at));
        if at % PER_DIRECTORY == 0 {
            let parent = path.parent().context("a file in a tree has a directory")?;
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        Rng::from_seed(SEED.wrapping_add(at)).fill(&mut bytes);
        fs::write(&path, &bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Gives one file in the middle of the tree new bytes of the same size.
pub(in super::super) fn change_one(dir: &Path, count: u64, round: u64) -> Result<()> {
    let path = dir.join(place(count / 2));
    let mut bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Rng::from_seed(SEED.wrapping_mul(round.wrapping_add(3))).fill(&mut bytes);
    fs::write(&path, &bytes).with_context(|| format!("writing {}", path.display()))
}

fn place(at: u64) -> PathBuf {
    PathBuf::from(format!("{PREFIX}{:05}/file-{at:07}.bin", at / PER_DIRECTORY))
}

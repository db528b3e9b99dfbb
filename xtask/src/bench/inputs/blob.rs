//! One large file of random bytes and three later versions of it, each an edit of the one before.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use syncline_base::rng::Rng;

const SEED: u64 = 0xb10b_b10b;
const PIECE: usize = 1 << 20;
/// Size of a scattered overwrite.
const OVERWRITE: usize = 4096;

/// The versions in order: a file name, and what was done to the version before.
pub(in super::super) const VERSIONS: [(&str, &str); 4] = [
    ("v0.bin", "first commit"),
    ("v1.bin", "1 byte inserted at the start"),
    ("v2.bin", "scattered 4 KiB overwrites"),
    ("v3.bin", "appended"),
];

/// How large, and how large the edits are.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Size {
    /// Of the first version, in bytes.
    pub(in super::super) bytes: u64,
    /// How many places are overwritten.
    pub(in super::super) overwrites: u64,
    /// How many bytes are appended.
    pub(in super::super) append: u64,
}

/// Writes the four versions into `dir`.
pub(in super::super) fn write(dir: &Path, size: Size) -> Result<()> {
    let [v0, v1, v2, v3] = VERSIONS.map(|(name, _)| dir.join(name));
    random(&mut create(&v0)?, SEED, size.bytes)?;

    let mut inserted = create(&v1)?;
    inserted.write_all(b"!")?;
    let mut original = BufReader::new(File::open(&v0)?);
    std::io::copy(&mut original, &mut inserted)?;
    inserted.flush()?;

    fs::copy(&v1, &v2)?;
    let mut file = OpenOptions::new().write(true).open(&v2)?;
    let mut rng = Rng::from_seed(SEED ^ 1);
    let mut piece = vec![0; OVERWRITE];
    for _ in 0..size.overwrites {
        file.seek(SeekFrom::Start(rng.below(size.bytes.saturating_sub(OVERWRITE as u64))))?;
        rng.fill(&mut piece);
        file.write_all(&piece)?;
    }

    fs::copy(&v2, &v3)?;
    let mut appended = BufWriter::new(OpenOptions::new().append(true).open(&v3)?);
    random(&mut appended, SEED ^ 2, size.append)
}

/// Whether two files hold the same bytes.
pub(in super::super) fn same(left: &Path, right: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| format!("opening {}", path.display()));
    let (mut left, mut right) = (open(left)?, open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        (&mut left).take(PIECE as u64).read_to_end(&mut a)?;
        (&mut right).take(PIECE as u64).read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    Ok(BufWriter::with_capacity(PIECE, file))
}

fn random(out: &mut impl Write, seed: u64, bytes: u64) -> Result<()> {
    let mut rng = Rng::from_seed(seed);
    let mut piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left.min(PIECE as u64)).context("a piece is small")?;
        rng.fill(&mut piece[..now]);
        out.write_all(&piece[..now])?;
        left -= now as u64;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests;

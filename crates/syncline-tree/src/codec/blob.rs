//! Byte strings: as they are, or one zstd frame.
//!
//! Owns: one compressor and one decompressor per thread (`Scratch`), because making them costs more than using them.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, DParameter, FrameFormat};

use crate::leaf::wire::{Fault, Reader, put_varint};

const RAW: u8 = 0;
const ZSTD: u8 = 1;
const LEVEL: i32 = 1;
/// Shorter strings are not worth a frame.
const MIN_ZSTD: usize = 48;
/// Longer buffers are not kept for the next leaf.
const KEPT: usize = 1 << 20;
/// How many bytes a probe looks at.
const PROBE: usize = 1024;
/// How many of them stand next to each other.
const RUN: usize = 64;

/// Memory and contexts that are used again.
pub(crate) struct Scratch {
    /// A leaf's streams, taken while one is encoded.
    pub(super) streams: Vec<u8>,
    pub(super) numbers: Vec<u64>,
    pub(super) bytes: Vec<u8>,
    frame: Vec<u8>,
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let text = "zstd takes its own levels and formats";
        let mut compressor = Compressor::new(LEVEL).expect(text);
        for parameter in [
            CParameter::Format(FrameFormat::Magicless),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
        ] {
            compressor.set_parameter(parameter).expect(text);
        }
        let mut decompressor = Decompressor::new().expect(text);
        decompressor.set_parameter(DParameter::Format(FrameFormat::Magicless)).expect(text);
        Self {
            streams: Vec::new(),
            numbers: Vec::new(),
            bytes: Vec::new(),
            frame: Vec::new(),
            compressor,
            decompressor,
        }
    }

    /// Gives back what a long leaf has taken: there is one of these for each thread.
    pub(super) fn shrink(&mut self) {
        for bytes in [&mut self.streams, &mut self.bytes, &mut self.frame] {
            if bytes.capacity() > KEPT {
                *bytes = Vec::new();
            }
        }
        if self.numbers.capacity() > KEPT / size_of::<u64>() {
            self.numbers = Vec::new();
        }
    }
}

/// Appends a byte string whose length the reader knows.
pub(super) fn put(bytes: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) {
    if bytes.is_empty() {
        return;
    }
    if bytes.len() >= MIN_ZSTD && entropy(bytes, 1) < 7.7 {
        scratch.frame.clear();
        scratch.frame.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        let done = scratch.compressor.compress_to_buffer(bytes, &mut scratch.frame);
        if done.is_ok_and(|len| len + 4 < bytes.len() - bytes.len() / 32) {
            out.push(ZSTD);
            put_varint(out, scratch.frame.len() as u64);
            out.extend_from_slice(&scratch.frame);
            return;
        }
    }
    out.push(RAW);
    out.extend_from_slice(bytes);
}

/// Fills `out` with a byte string.
pub(super) fn get(reader: &mut Reader<'_>, out: &mut [u8], scratch: &mut Scratch) -> Result<(), Fault> {
    if out.is_empty() {
        return Ok(());
    }
    match reader.byte()? {
        RAW => out.copy_from_slice(reader.take(out.len())?),
        ZSTD => {
            let len = reader.count(reader.left())?;
            let frame = reader.take(len)?;
            let got = scratch.decompressor.decompress_to_buffer(frame, out).map_err(|error| error.to_string())?;
            if got != out.len() {
                return Err(format!("{got} bytes came out of a frame, {} are wanted", out.len()));
            }
        }
        tag => return Err(format!("unknown way {tag} to store bytes")),
    }
    Ok(())
}

/// Bits per byte of every `step`-th byte, from a sample: 8 is noise.
pub(super) fn entropy(bytes: &[u8], step: usize) -> f32 {
    let count = bytes.len().div_ceil(step);
    // Runs from everywhere, so that a head that differs does not decide.
    let mut seen = [0_u32; 256];
    let mut total = 0;
    let runs = (count / RUN).max(1);
    let skip = runs.div_ceil(PROBE / RUN).max(1);
    for run in (0..runs).step_by(skip) {
        let start = run * RUN * step;
        let piece = &bytes[start..bytes.len().min(start + RUN * step)];
        for cell in piece.chunks(step) {
            seen[usize::from(cell[0])] += 1;
            total += 1;
        }
    }
    let total = total as f32;
    let (mut plain, mut distinct) = (0.0, 0.0);
    for n in seen.into_iter().filter(|n| *n > 0) {
        let n = n as f32;
        plain -= n * (n / total).log2();
        distinct += 1.0;
    }
    // A small sample of noise looks less random than it is (Miller-Madow).
    (plain / total + (distinct - 1.0) / (2.0 * total * std::f32::consts::LN_2)).min(8.0)
}

//! Physical limits, as rows of their own: what no tool on this machine can beat.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use syncline_base::{Clock, Hasher, SystemClock, task};

use super::measure::Cmd;
use super::record::Sample;
use super::world::World;

const PIECE: usize = 1 << 20;

/// `cp -r` and a flush.
pub(super) fn copy(world: &World, from: &Path, to: &Path) -> Result<Sample> {
    let (mut sample, _) = world.step_flushed(&[Cmd::new("cp").arg("-r").arg(from).arg(to)], world.scratch())?;
    // The flush is the point here, not something that was added.
    sample.unsynced = None;
    Ok(sample)
}

/// BLAKE3 over that many bytes of memory on one thread.
pub(super) fn blake3(bytes: u64) -> Sample {
    let piece = vec![0x5a; PIECE];
    let start = SystemClock.monotonic();
    let mut hasher = Hasher::new();
    for _ in 0..bytes / PIECE as u64 {
        hasher.update(&piece);
    }
    std::hint::black_box(hasher.finish());
    Sample { wall: (SystemClock.monotonic() - start).as_secs_f64(), ..Sample::default() }
}

/// That many bytes over a TCP connection on loopback.
pub(super) fn loopback(bytes: u64) -> Result<Sample> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening on loopback")?;
    let address = listener.local_addr()?;
    let start = SystemClock.monotonic();
    let receiver = task::spawn("receiver", move || -> Result<u64> {
        let (mut stream, _) = listener.accept()?;
        let (mut piece, mut sum) = (vec![0; PIECE], 0);
        loop {
            match stream.read(&mut piece)? {
                0 => return Ok(sum),
                read => sum += read as u64,
            }
        }
    })?;
    let mut stream = TcpStream::connect(address)?;
    let piece = vec![0x5a; PIECE];
    for _ in 0..bytes / PIECE as u64 {
        stream.write_all(&piece)?;
    }
    drop(stream);
    let received = receiver.join().map_err(|_| anyhow!("the receiving thread panicked"))??;
    Ok(Sample { wall: (SystemClock.monotonic() - start).as_secs_f64(), wire: Some(received), ..Sample::default() })
}

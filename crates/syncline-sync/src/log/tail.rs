//! The end of the newest segment: how far it goes, and whether what is behind is what a crash leaves, or damage.
//!
//! State: none; nothing is written. The rules are in `docs/format/log.md`, "The end". In short: a mark says how much was
//! durable when it was written, so what does not verify below any later mark is damage; above, it is a torn tail if
//! something of the write is missing, which shows as a whole unit of zeros or as a missing last byte, and else damage.

use super::disk::Disk;
use super::format::{HEADER, Header, MARK, Mark, TAG};
use super::walk::{Place, Step, WIDE, Walk, Window};
use super::{Position, Result, damaged, read::Index};

/// What was found at the end of the newest segment.
#[derive(Debug)]
pub(super) struct Tail {
    /// So many bytes count.
    pub(super) len: u64,
    /// The position after the last record.
    pub(super) next: Position,
    /// So many bytes are known to have been durable.
    pub(super) proven: u64,
    /// The oldest segment that counts.
    pub(super) oldest: u32,
    /// How many bytes behind `len` were written and never became durable; `None` when nothing but zeros is there.
    pub(super) cut: Option<u64>,
    /// Where groups begin.
    pub(super) index: Index,
}

/// Reads the newest segment up to its end.
pub(super) fn find<D: Disk>(disk: &D, name: &str, header: &Header, file: u64) -> Result<Tail> {
    let seed = header.seed();
    let start = Place { position: header.first, offset: HEADER as u64, group: None };
    let mut walk = Walk::new(Window::new(disk, name, file, WIDE), seed, start);
    let mut tail =
        Tail { len: 0, next: header.first, proven: 0, oldest: header.oldest, cut: None, index: Index::default() };
    let why = loop {
        match walk.step()? {
            Step::Group(mark) => {
                tail.index.note(mark.first, u64::from(mark.offset));
                tail.oldest = tail.oldest.max(mark.oldest);
                tail.proven = tail.proven.max(u64::from(mark.durable));
            }
            Step::Record(_) => {}
            Step::End => break None,
            Step::Bad(why) => break Some(why),
        }
    };
    (tail.len, tail.next) = (walk.at.offset, walk.at.position);
    let Place { group, offset, .. } = walk.at;
    let mut seen = walk.window;
    let data = data_end(&mut seen, offset)?;
    if data == offset && group.is_none() {
        return Ok(tail);
    }
    let why = why.unwrap_or("a group is cut short");
    let damage = |why: &str| damaged(name, offset, tail.next, why);
    if marked_durable(&mut seen, seed, offset, data)? {
        return Err(damage(why));
    }
    let whole = group.unwrap_or((offset, offset + MARK as u64));
    if !is_torn(&mut seen, whole, offset, disk.unit())? {
        return Err(damage(why));
    }
    tail.cut = Some(data - offset);
    Ok(tail)
}

/// What the start of a segment is.
#[derive(Debug)]
pub(super) enum Start {
    /// A header.
    Header(Header),
    /// What is left of making a segment that never became durable; no record was ever in it.
    Unfinished,
}

/// Reads the start of a segment. `first` is for messages.
pub(super) fn start<D: Disk>(disk: &D, name: &str, first: Position, file: u64) -> Result<Start> {
    let mut window = Window::new(disk, name, file, 2 * HEADER);
    match Header::decode(window.get(0, HEADER)?) {
        Ok(header) => return Ok(Start::Header(header)),
        Err(super::format::NoHeader::Version(version)) => {
            return Err(super::Error::Invalid(format!(
                "segment {name} of the log follows version {version} of its format and this program knows {}: use the \
                 program that wrote it, or a newer one",
                super::format::VERSION
            )));
        }
        Err(super::format::NoHeader::Bad) => {}
    }
    // Nothing is written behind a header before it is durable.
    let mut window = Window::new(disk, name, file, WIDE);
    let data = data_end(&mut window, 0)?;
    if data <= HEADER as u64 && is_torn(&mut window, (0, HEADER as u64), 0, disk.unit())? {
        return Ok(Start::Unfinished);
    }
    Err(damaged(name, 0, first, "its header does not verify"))
}

/// Where the last byte that is not zero ends; `from` when there is none from there on.
fn data_end<D: Disk>(window: &mut Window<'_, D>, from: u64) -> Result<u64> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let (mut at, mut end) = (from, from);
    loop {
        let bytes = window.get(at, ZEROS.len())?;
        if bytes.is_empty() {
            return Ok(end);
        }
        if *bytes != ZEROS[..bytes.len()] {
            let last = bytes.iter().rposition(|byte| *byte != 0).expect("it is not all zeros");
            end = at + last as u64 + 1;
        }
        at += bytes.len() as u64;
    }
}

/// Whether a mark between `from` and `data` says that bytes from `from` on were durable.
fn marked_durable<D: Disk>(window: &mut Window<'_, D>, seed: u64, from: u64, data: u64) -> Result<bool> {
    let mut at = from;
    while at < data {
        let bytes = window.get(at, WIDE)?;
        if bytes.len() < MARK {
            return Ok(false);
        }
        // A mark that reaches beyond these bytes is met with the next ones.
        for place in (0..=bytes.len() - MARK).filter(|place| bytes[*place..].starts_with(&TAG)) {
            let mark = Mark::decode(&bytes[place..], seed, at + place as u64);
            if mark.is_some_and(|mark| u64::from(mark.durable) > from) {
                return Ok(true);
            }
        }
        at += (bytes.len() - MARK + 1) as u64;
    }
    Ok(false)
}

/// Whether something of what was written to `whole` in one piece is missing from `from` on.
fn is_torn<D: Disk>(window: &mut Window<'_, D>, whole: (u64, u64), from: u64, unit: u32) -> Result<bool> {
    // A write that stopped early misses its last byte.
    if window.get(whole.1 - 1, 1)?.first().is_none_or(|last| *last == 0) {
        return Ok(true);
    }
    let unit = u64::from(unit.max(1));
    let mut at = whole.0.max(from / unit * unit);
    while at < whole.1 {
        let end = whole.1.min((at / unit + 1) * unit);
        let len = usize::try_from(end - at).unwrap_or(usize::MAX);
        if window.get(at, len)?.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = end;
    }
    Ok(false)
}

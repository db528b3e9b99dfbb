//! What can still be read of a damaged log.
//!
//! State: none; nothing is written. Every record that is given out has its checksum, so it is what was written; which are missing in between nobody knows
//! but by what they say. A log that is whole is read by [`Log`](super::Log), which gives all or says that it cannot.

use super::disk::Disk;
use super::format::{self, FRAME, HEADER, Header, MARK, MAX_RECORD, Mark, TAG};
use super::segments::list;
use super::walk::{Place, Step, WIDE, Walk, Window};
use super::{LogId, Position, Result};

/// What a look at a damaged log has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// How many records could be read.
    pub records: u64,
    /// At how many places something could not, the end of what a crash left half written among them.
    pub gaps: u64,
}

/// Gives every record that can be read to `each`, in their order.
///
/// # Errors
/// The disk's. What is not what was written is left out.
pub fn salvage<D: Disk>(disk: &D, mut each: impl FnMut(&[u8])) -> Result<Salvaged> {
    let mut found = Salvaged::default();
    let mut files: Vec<((u32, Position), String, u64)> =
        list(disk)?.into_iter().filter_map(|(name, len)| Some((format::parse_name(&name)?, name, len))).collect();
    files.sort();
    let mut headers = Vec::new();
    for (_, name, len) in &files {
        let bytes = Window::new(disk, name, *len, WIDE).get(0, HEADER)?.to_vec();
        headers.push(Header::decode(&bytes).ok());
    }
    // A segment whose own header is damaged has the id of another one.
    let Some(id) = headers.iter().flatten().next_back().map(|header| header.id) else {
        found.gaps = files.len() as u64;
        return Ok(found);
    };
    for (((serial, first), name, len), header) in files.iter().zip(&headers) {
        found.gaps += u64::from(header.is_none());
        let id = header.map_or(id, |header| header.id);
        segment(disk, (id, *serial, *first), (name, *len), &mut found, &mut each)?;
    }
    Ok(found)
}

fn segment<D: Disk>(
    disk: &D,
    (id, serial, first): (LogId, u32, Position),
    (name, len): (&str, u64),
    found: &mut Salvaged,
    each: &mut impl FnMut(&[u8]),
) -> Result<()> {
    let header = Header { id, serial, oldest: serial, first, previous_first: 0, previous_len: 0 };
    let start = Place { position: first, offset: HEADER as u64, group: None };
    let mut walk = Walk::new(Window::new(disk, name, len, WIDE), header.seed(), start);
    loop {
        match walk.step()? {
            Step::Group(_) => {}
            Step::Record(at) => {
                let len = usize::try_from(at.end - at.start).unwrap_or(MAX_RECORD);
                each(walk.window.get(at.start, len)?);
                found.records += 1;
            }
            Step::End => return Ok(()),
            Step::Bad(_) => match next(&mut walk, header.seed(), len)? {
                Some((place, zeros)) => {
                    found.gaps += u64::from(!zeros);
                    walk.at = place;
                }
                None => return Ok(()),
            },
        }
    }
}

/// Where to go on after something that does not verify: at the record behind it, if its length says where that is, else at the next mark. Whether
/// there was nothing but zeros in between.
fn next<D: Disk>(walk: &mut Walk<'_, D>, seed: u64, len: u64) -> Result<Option<(Place, bool)>> {
    let at = walk.at;
    if let Some((_, end)) = at.group
        && let Some((record, _)) = format::frame(walk.window.get(at.offset, FRAME)?)
        && record <= MAX_RECORD
    {
        let offset = at.offset + (FRAME + record) as u64;
        // It follows, if its own checksum says so.
        if offset + (FRAME as u64) < end && offset > at.offset {
            let place = Place { position: at.position + 1, offset, group: at.group };
            let before = std::mem::replace(&mut walk.at, place);
            let follows = matches!(walk.step()?, Step::Record(_));
            walk.at = before;
            if follows {
                return Ok(Some((place, false)));
            }
        }
    }
    let (mut offset, mut zeros) = (at.offset + u64::from(at.group.is_none()), at.group.is_none());
    while offset < len {
        let bytes = walk.window.get(offset, WIDE)?;
        if bytes.is_empty() {
            break;
        }
        let tag = bytes.windows(TAG.len()).position(|bytes| *bytes == TAG);
        zeros &= bytes[..tag.unwrap_or(bytes.len())].iter().all(|byte| *byte == 0);
        let Some(tag) = tag else {
            // One may begin at the end of what is here.
            offset += (bytes.len().saturating_sub(TAG.len() - 1)).max(1) as u64;
            continue;
        };
        offset += tag as u64;
        if let Some(mark) = Mark::decode(walk.window.get(offset, MARK)?, seed, offset) {
            return Ok(Some((Place { position: mark.first, offset, group: None }, zeros)));
        }
        offset += 1;
    }
    // What was never written is nothing that is missing.
    Ok((!zeros).then_some((Place { position: at.position, offset: len, group: None }, false)))
}

#[cfg(test)]
mod tests {
    use syncline_base::rng::Rng;

    use super::super::memory::MemoryDisk;
    use super::super::{Log, Options};
    use super::*;

    fn record(n: u64) -> Vec<u8> {
        let mut rng = Rng::from_seed(n);
        let mut bytes = vec![1; 1 + usize::try_from(rng.below(300)).unwrap()];
        rng.fill(&mut bytes);
        bytes.extend_from_slice(&n.to_le_bytes());
        bytes
    }

    fn number(record: &[u8]) -> u64 {
        u64::from_le_bytes(record[record.len() - 8..].try_into().unwrap())
    }

    /// A log of so many records in groups of up to five, in small segments.
    fn log(records: u64) -> MemoryDisk {
        let disk = MemoryDisk::new(Rng::from_seed(1), 512);
        let options = Options { segment_bytes: 16 << 10, ..Options::DEFAULT };
        let mut log = Log::create(disk.clone(), [7; 16], 100, options).unwrap();
        for n in 0..records {
            log.append(&record(n)).unwrap();
            if n % 5 == 4 {
                log.sync().unwrap();
            }
        }
        log.close().unwrap();
        disk
    }

    fn read(disk: &MemoryDisk) -> (Vec<u64>, Salvaged) {
        let mut all = Vec::new();
        let found = salvage(disk, |bytes| {
            assert_eq!(bytes, record(number(bytes)), "what is given out is what was written");
            all.push(number(bytes));
        });
        (all, found.unwrap())
    }

    #[test]
    fn of_a_whole_log_all_is_given_out() {
        let (all, found) = read(&log(500));
        assert_eq!(all, (0..500).collect::<Vec<_>>());
        assert_eq!(found, Salvaged { records: 500, gaps: 0 });
        let empty = MemoryDisk::new(Rng::from_seed(1), 512);
        assert_eq!(read(&empty), (Vec::new(), Salvaged::default()));
    }

    #[test]
    fn a_byte_that_changed_takes_one_record_or_one_group() {
        let mut rng = Rng::from_seed(5);
        let names: Vec<(String, usize)> =
            log(500).contents().iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect();
        for _ in 0..400 {
            let disk = log(500);
            let (name, len) = &names[rng.below(names.len() as u64) as usize];
            let at = rng.below(*len as u64) as usize;
            disk.change(name, |bytes| bytes[at] ^= 1 << (at % 8));
            let (all, found) = read(&disk);
            assert!(all.is_sorted_by(|a, b| a < b), "in their order, none twice");
            assert!(all.len() >= 495, "{} are left after byte {at} of {name} changed", all.len());
            assert!(found.gaps > 0 || all.len() == 500, "{found:?}");
        }
    }

    #[test]
    fn any_damage_leaves_what_is_given_out_right() {
        let mut rng = Rng::from_seed(9);
        for _ in 0..200 {
            let disk = log(300);
            for name in disk.contents().into_keys() {
                if rng.below(2) == 0 {
                    continue;
                }
                disk.change(&name, |bytes| {
                    let from = rng.below(bytes.len() as u64) as usize;
                    let to = (from + rng.below(3_000) as usize).min(bytes.len());
                    match rng.below(3) {
                        0 => bytes[from..to].fill(0),
                        1 => bytes.truncate(from),
                        _ => rng.fill(&mut bytes[from..to]),
                    }
                });
            }
            let (all, _) = read(&disk);
            assert!(all.is_sorted_by(|a, b| a < b), "in their order, none twice");
        }
    }
}

//! What has to hold of any bytes that lie where a log should be: the work of the fuzz target `log_segment`.

use std::collections::VecDeque;

use syncline_base::rng::Rng;

use super::disk::Disk;
use super::format::{self, END, Header, Mark};
use super::memory::MemoryDisk;
use super::{Log, Options, Position};

const OPTIONS: Options = Options { segment_bytes: 2 << 10, buffer_bytes: 512, max_record: 4 << 10 };
const ID: [u8; 16] = *b"the log of fuzz!";

/// Takes the bytes of an input one after another; zeros when they are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }
}

/// One segment of any bytes, one whose parts verify but may not fit together, or a log that was written and then
/// damaged: opening it does not panic, and what it gives stays so.
pub(crate) fn segment(data: &[u8]) {
    let mut input = Input(data);
    let mode = input.byte();
    let unit = if mode & 4 == 0 { 1 } else { 512 };
    let disk = MemoryDisk::new(Rng::from_seed(u64::from(mode)), unit);
    match mode % 4 {
        0 => place(&disk, &format::name(1, 0), input.0),
        1 => forge(&disk, &mut input),
        _ => return damage(&disk, &mut input),
    }
    go_on(&disk);
}

fn place(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    disk.create(name, 0).expect("there is no such file");
    disk.change(name, |contents| contents.extend_from_slice(bytes));
}

/// Two segments with the right checksums and any numbers.
fn forge(disk: &MemoryDisk, input: &mut Input<'_>) {
    let mut previous_len = 0;
    for serial in 1..=2 {
        let base = u64::from(input.byte()) << (input.byte() % 64);
        let header = Header {
            id: ID,
            serial: serial + u32::from(input.byte() / 255),
            oldest: if input.byte().is_multiple_of(8) { input.word() } else { 1 },
            first: if serial == 1 { base } else { u64::from(input.byte() % 4) },
            previous_first: 0,
            previous_len: if input.byte().is_multiple_of(8) { input.word() } else { previous_len },
        };
        let mut bytes = header.encode().to_vec();
        let mut next = header.first;
        for _ in 0..input.byte() % 16 {
            group(&mut bytes, &header, &mut next, input);
        }
        previous_len = u32::try_from(bytes.len()).expect("inputs are small");
        let name = format::name(serial, header.first);
        if disk.list().is_ok_and(|files| files.iter().all(|file| file.0 != name)) {
            place(disk, &name, &bytes);
        }
    }
}

/// A group that may be longer or shorter than it says, and lie about everything.
fn group(bytes: &mut Vec<u8>, header: &Header, next: &mut Position, input: &mut Input<'_>) {
    let odd = input.byte();
    let offset = u32::try_from(bytes.len()).expect("inputs are small");
    let mut frames = Vec::new();
    let first = *next;
    for _ in 0..input.byte() % 4 {
        let len = usize::from(input.byte());
        let record: Vec<u8> = (0..len.min(input.0.len())).map(|_| input.byte()).collect();
        format::push(&mut frames, header.seed(), *next, &record);
        *next += 1;
    }
    let len = u32::try_from(format::MARK + frames.len() + 1).expect("inputs are small");
    let mark = Mark {
        len: if odd & 1 == 0 { len } else { input.word() },
        offset: if odd & 2 == 0 { offset } else { input.word() },
        durable: if odd & 4 == 0 { offset } else { input.word() },
        first: if odd & 8 == 0 { first } else { u64::from(input.byte()) },
        oldest: if odd & 16 == 0 { header.oldest } else { input.word() },
    };
    bytes.extend_from_slice(&mark.encode(header.seed()));
    bytes.extend_from_slice(&frames);
    bytes.push(if odd & 32 == 0 { END } else { input.byte() });
    if odd & 64 != 0 {
        bytes.resize(bytes.len() + usize::from(input.byte()), 0);
    }
}

/// Writes a log, changes bytes of it, and holds what is found against what was written.
fn damage(disk: &MemoryDisk, input: &mut Input<'_>) {
    let mut log = Log::create(disk.clone(), ID, 0, OPTIONS).expect("memory does not fail");
    let mut records = VecDeque::new();
    for _ in 0..input.byte() % 64 {
        let what = input.byte();
        match what % 8 {
            0..5 => {
                let record = vec![what; usize::from(input.byte()) * usize::from(what % 4)];
                log.append(&record).expect("memory does not fail");
                records.push_back(record);
            }
            5 => drop(log.sync().expect("memory does not fail")),
            6 => log.settle().expect("memory does not fail"),
            _ => drop(log.truncate_before(u64::from(input.byte())).expect("memory does not fail")),
        }
    }
    let durable = log.durable();
    drop(log);
    if input.byte().is_multiple_of(2) {
        disk.crash();
    }
    let mut changed = false;
    while !input.0.is_empty() {
        let names: Vec<String> = disk.contents().into_keys().collect();
        let name = &names[usize::from(input.byte()) % names.len()];
        let (at, len, by) = (usize::from(input.byte()) * 256 + usize::from(input.byte()), input.byte(), input.byte());
        disk.change(name, |bytes| {
            let before = bytes.clone();
            match by {
                0 => bytes.truncate(at),
                _ => bytes.iter_mut().skip(at).take(usize::from(len)).for_each(|byte| *byte ^= by),
            }
            changed |= *bytes != before;
        });
    }
    let opened = Log::open(disk.clone(), Some(ID), OPTIONS);
    if !changed {
        assert!(opened.as_ref().is_ok_and(|(log, _)| log.next() >= durable), "an undamaged log does not open");
    }
    let Ok((mut log, recovered)) = opened else { return };
    assert!(recovered.next <= records.len() as u64);
    let mut at = recovered.first;
    while let Ok(found) = log.read(at..u64::MAX, 900)
        && !found.is_empty()
    {
        for (position, record) in found.iter() {
            assert_eq!(records[usize::try_from(position).expect("there are few")], record);
        }
        at = found.next();
    }
    drop(log);
    go_on(disk);
}

/// Whatever was found is found again, with what was appended to it.
fn go_on(disk: &MemoryDisk) {
    let Ok((mut log, recovered)) = Log::open(disk.clone(), None, OPTIONS) else { return };
    let sound = log.verify().is_ok();
    let found = log.read(recovered.first..u64::MAX, 9999);
    if sound {
        assert_eq!(found.as_ref().map(super::Records::is_empty).ok(), Some(recovered.first == recovered.next));
    }
    assert_eq!(log.append(b"and on it goes").expect("memory does not fail"), recovered.next);
    log.sync().expect("memory does not fail");
    drop(log);
    disk.crash();
    let (mut log, again) = Log::open(disk.clone(), None, OPTIONS).expect("it was open a moment ago");
    assert_eq!((again.first, again.next), (recovered.first, recovered.next + 1));
    assert_eq!(log.verify().is_ok(), sound);
    if let Ok(found) = found {
        assert_eq!(log.read(recovered.first..recovered.next, 9999).ok(), Some(found));
    }
    let last = log.read(recovered.next..u64::MAX, 1).expect("it was just written");
    assert_eq!(last.iter().next().expect("a record").1, b"and on it goes"[..]);
}

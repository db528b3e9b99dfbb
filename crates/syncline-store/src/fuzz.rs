//! What has to hold of every decoder, for any bytes: the targets of `fuzz/`.
//!
//! Checksums stop a fuzzer at the door, so most targets put the right ones around what they are given. A target panics
//! when a promise is broken. Inputs that did so once are kept under `fixtures/fuzz` and run by this module's tests.
//!
//! Not here: the fuzzer (`fuzz/`), the formats.

use bytes::Bytes;
use syncline_base::Hash;

use crate::backend::{Backend, memory::Memory};
use crate::codec::{Registry, ZSTD_PREFIX};
use crate::frame;
use crate::index::segment::{self, Segment};
use crate::pack;
use crate::store::head;

/// Checks one input.
pub type Target = fn(&[u8]);

/// Every target, by the name that it has in `fuzz/` and under `fixtures/fuzz`.
pub const TARGETS: &[(&str, Target)] =
    &[("frame", frame), ("pack", pack), ("index_segment", index_segment), ("store_head", store_head), ("zstd", zstd)];

/// The objects of a frame are the objects of the frame that is made of them.
pub fn frame(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let length = u32::try_from(rest.len()).expect("an input is short");
    let bytes = match choice % 3 {
        0 => Bytes::copy_from_slice(rest),
        1 => frame::sealed(choice / 3 % 2 * 4, length, rest),
        // The body, compressed here, so that a claimed length can be wrong.
        _ => {
            let packed = crate::codec::zstd_encode(rest).unwrap_or_default();
            frame::sealed(1 + choice / 12 % 2 * 4, length.wrapping_add(u32::from(choice / 3 % 4)), &packed)
        }
    };
    let _ = frame::parse_footer(&bytes);
    let Ok(parsed) = frame::parse(&bytes) else { return };
    let built = frame::build(&parsed.objects).expect("a frame of a frame's objects");
    let joined: Vec<u8> = built.parts.iter().flat_map(|part| part.iter().copied()).collect();
    assert_eq!(joined.len(), built.len as usize);
    let again = frame::parse(&joined.into()).expect("it was just built");
    assert_eq!(again.objects, parsed.objects, "other objects");
}

/// A pack of any bytes is gone through to its end, and its footer is believed only as far as the file reaches.
pub fn pack(data: &[u8]) {
    let mut file = Vec::new();
    let mut rest = data;
    // Pieces: garbage, frames and footers one after the other.
    while let Some(([choice, length], more)) = rest.split_first_chunk::<2>() {
        let (piece, more) = more.split_at(usize::from(*length).min(more.len()));
        let size = u32::try_from(piece.len()).expect("at most 255");
        match choice % 4 {
            0 => file.extend_from_slice(piece),
            1 => file.extend_from_slice(&frame::sealed(choice / 4 % 2 * 4, size, piece)),
            2 => file.extend_from_slice(&frame::sealed(2, size, piece)),
            _ => {
                file.extend_from_slice(&u64::from(size).to_le_bytes());
                file.extend_from_slice(b"SLPEND1\n");
            }
        }
        rest = more;
    }
    let size = file.len() as u64;
    let memory = Memory::new();
    memory.put("p", Bytes::from(file)).expect("memory takes it");
    let mut last = 0;
    let scanned = pack::scan(&memory, "p", 0, size, &mut |at, len, frame| {
        assert!(at >= last && at + u64::from(len) <= size && !frame.objects.is_empty());
        last = at + u64::from(len);
        Ok(())
    });
    let scanned = scanned.expect("memory can be read");
    assert!(scanned.end <= size && scanned.damage.iter().all(|(from, to)| from < to && *to <= size));
    if let Some(entries) = pack::read_footer(&memory, "p", size, 0).expect("memory can be read") {
        assert!(entries.iter().all(|(_, loc)| u64::from(loc.offset) + u64::from(loc.len) <= size));
    }
}

/// An index segment of any bytes is refused or can be searched.
pub fn index_segment(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let file = if choice % 2 == 0 { rest.to_vec() } else { segment::sealed(usize::from(choice / 2), rest) };
    let size = file.len() as u64;
    let memory = Memory::new();
    memory.put("index/a", Bytes::from(file)).expect("memory takes it");
    let Ok(segment) = Segment::open(&memory, "index/a", size) else { return };
    let mut count = 0;
    for (id, _) in segment.iter(&memory).map_while(Result::ok) {
        count += 1;
        let _ = (segment.places(&memory, &id), segment.with_prefix(&memory, id.prefix_u64()));
    }
    assert!(count <= segment.entries);
    let _ = segment.places(&memory, &Hash::of(data));
}

/// A head document of any bytes is refused or gives what was put into it.
pub fn store_head(data: &[u8]) {
    let _ = head::parse(&Bytes::copy_from_slice(data));
    let _ = head::parse(&head::sealed(data));
    let document = head::build([7; 16], None, data);
    assert_eq!(head::parse(&document).expect("it was just built").1, data);
}

/// The built-in codecs give the length that was asked for, or nothing; what is claimed sizes no memory.
pub fn zstd(data: &[u8]) {
    let Some((&[codec, low, high, wide], rest)) = data.split_first_chunk::<4>() else { return };
    let raw_len = usize::from(u16::from_le_bytes([low, high])) << (wide % 12);
    let (base, payload) = rest.split_at(rest.len().min(usize::from(low)));
    let (first, second) = base.split_at(base.len().min(usize::from(high)));
    let bases = if second.is_empty() { &[first][..] } else { &[first, second] };
    let registry = Registry::new(&[]).expect("the built-in codecs");
    if let Ok(bytes) = registry.decode(codec % 4, payload, if codec % 4 == ZSTD_PREFIX { bases } else { &[] }, raw_len)
    {
        assert_eq!(bytes.len(), raw_len);
    }
    let packed = crate::codec::zstd_encode(rest);
    if let Some(packed) = packed {
        let bytes = crate::codec::zstd_decode(&packed, None, rest.len()).expect("it was just packed");
        assert_eq!(bytes, rest);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/tests.rs"]
mod tests;

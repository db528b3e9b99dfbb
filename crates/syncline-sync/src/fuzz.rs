//! What has to hold of what a peer sends, for any bytes: the targets of `fuzz/`.
//!
//! A target panics when a promise is broken. Inputs that did so once are kept under `fixtures/fuzz` and run by this
//! module's tests. Not here: the fuzzer (`fuzz/`), hostile peers that speak well (`tests/hostile.rs`).

use bytes::Bytes;

use crate::squeeze;
use crate::wire::{self, Squeezed};

/// Checks one input.
pub type Target = fn(&[u8]);

/// Every target, by the name that it has in `fuzz/` and under `fixtures/fuzz`.
pub const TARGETS: &[(&str, Target)] = &[
    ("wire", wire),
    ("squeeze", squeeze),
    ("log_segment", log_segment),
    ("live_record", live_record),
    ("live_message", live_message),
    ("live_run", live_run),
];

/// Messages mean the same once they are written again.
pub fn wire(data: &[u8]) {
    if let Ok(messages) = wire::decode_frame(Bytes::copy_from_slice(data)) {
        for message in &messages {
            let _ = (message.name(), message.asks(), message.size_hint());
        }
        let written = wire::encode_frame(&messages);
        assert_eq!(wire::decode_frame(written).expect("it was just written"), messages);
    }
}

/// Text comes out with the length that it claims, or not at all; what was squeezed comes out as it was.
pub fn squeeze(data: &[u8]) {
    let Some((&[low, high, wide], rest)) = data.split_first_chunk::<3>() else { return };
    let raw_len = u32::from(u16::from_le_bytes([low, high])) << (wide % 17);
    let (prefix, payload) = rest.split_at(rest.len().min(usize::from(low)));
    let text = Squeezed { raw_len, payload: Bytes::copy_from_slice(payload) };
    if let Ok(text) = squeeze::unsqueeze("text", &text, prefix) {
        assert_eq!(text.len(), raw_len as usize);
    }
    let squeezed = squeeze::squeeze(payload, prefix).expect("any text can be squeezed");
    assert_eq!(squeeze::unsqueeze("text", &squeezed, prefix).expect("it was just squeezed"), payload);
}

/// Whatever lies where a log should be, opening it gives what was written or an error.
pub fn log_segment(data: &[u8]) {
    crate::log::fuzz::segment(data);
}

/// A record has one form.
pub fn live_record(data: &[u8]) {
    crate::live::fuzz::record(data);
}

/// A message has one form.
pub fn live_message(data: &[u8]) {
    crate::live::fuzz::message(data);
}

/// Blocks and the index of a run of rows are read, or refused.
pub fn live_run(data: &[u8]) {
    crate::live::fuzz::run(data);
}

#[cfg(test)]
#[path = "../../../fuzz/tests.rs"]
mod tests;

//! Records (dataset roots, commits) as they travel: compressed against what both sides know already.
//!
//! A new root differs from its base in a few hashes, a new commit from its base in those and a message: against the
//! right prefix both shrink to about their information.
//!
//! Owns nothing.

use bytes::Bytes;
use syncline_base::Hash;
use syncline_tree::record;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, get_error_name};

use crate::error::{Error, Result};
use crate::wire::Squeezed;

/// Above this a prefix is cut: zstd finds matches in it, but both sides have to load it.
const PREFIX_MAX: usize = 1 << 20;

/// Bytes that both sides know, for the dataset root of a commit on top of `base`.
#[must_use]
pub(crate) fn root_prefix(base_root: Option<&[u8]>) -> Vec<u8> {
    let mut prefix = Vec::new();
    prefix.extend_from_slice(
        b"{\"syncline\":\"root/1\",\"tables\":{\"\":{\"schema\":\"\",\"root\":\"\",\"rows\":,\"height\":}},\"files\":",
    );
    push_end(&mut prefix, base_root.unwrap_or_default());
    prefix
}

/// Bytes that both sides know, for a commit with content root `root` on top of `base`.
#[must_use]
pub(crate) fn commit_prefix(base: Option<(Hash, &[u8])>, root: Hash) -> Vec<u8> {
    let mut prefix = Vec::new();
    prefix.extend_from_slice(
        b"{\"syncline\":\"commit/1\",\"parents\":[],\"generation\":1,\"root\":\"\",\"author\":\"\",\"hlc\":,\"message\":\"\",\"meta\":{",
    );
    if let Some((_, bytes)) = base {
        push_end(&mut prefix, bytes);
    }
    prefix.extend_from_slice(root.to_string().as_bytes());
    if let Some((id, _)) = base {
        prefix.extend_from_slice(b"\"parents\":[\"");
        prefix.extend_from_slice(id.to_string().as_bytes());
    }
    prefix
}

fn push_end(prefix: &mut Vec<u8>, bytes: &[u8]) {
    prefix.extend_from_slice(&bytes[bytes.len().saturating_sub(PREFIX_MAX)..]);
}

/// Compresses `text` against `prefix`.
///
/// # Errors
/// `Invalid` when the text is too long for a record.
pub(crate) fn squeeze(text: &[u8], prefix: &[u8]) -> Result<Squeezed> {
    let wrong = |code| Error::Invalid(format!("compressing a record: {}", get_error_name(code)));
    let raw_len = u32::try_from(text.len()).map_err(|_| Error::Invalid("a record of more than 4 GiB".into()))?;
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(6)).map_err(wrong)?;
    // The length and a checksum travel elsewhere: the length beside the frame, the check is the hash.
    context.set_parameter(CParameter::ContentSizeFlag(false)).map_err(wrong)?;
    context.set_parameter(CParameter::ChecksumFlag(false)).map_err(wrong)?;
    context.set_parameter(CParameter::WindowLog(window_log(text.len() + prefix.len()))).map_err(wrong)?;
    context.ref_prefix(prefix).map_err(wrong)?;
    let mut payload = Vec::with_capacity(zstd::zstd_safe::compress_bound(text.len()));
    context.compress2(&mut payload, text).map_err(wrong)?;
    Ok(Squeezed { raw_len, payload: Bytes::from(payload) })
}

/// The text again.
///
/// # Errors
/// `Corrupt` when the bytes are not what [`squeeze`] gives for this prefix.
pub(crate) fn unsqueeze(what: &'static str, text: &Squeezed, prefix: &[u8]) -> Result<Bytes> {
    let raw_len = text.raw_len as usize;
    if raw_len > record::MAX_LEN {
        return Err(Error::protocol(what, format!("it claims {raw_len} bytes; {} are allowed", record::MAX_LEN)));
    }
    let wrong = |code| Error::protocol(what, get_error_name(code).to_owned());
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(27)).map_err(wrong)?;
    context.ref_prefix(prefix).map_err(wrong)?;
    // Grows as it fills: a length that nothing backs reserves nothing.
    let mut out = Vec::with_capacity(raw_len.min(64 << 10).max(text.payload.len().saturating_mul(4)).min(raw_len));
    loop {
        match context.decompress(&mut out, &text.payload) {
            Ok(_) => break,
            Err(_) if out.capacity() < raw_len => {
                let room = out.capacity().saturating_mul(8).clamp(64 << 10, raw_len);
                out = Vec::with_capacity(room);
                context = DCtx::create();
                context.set_parameter(DParameter::WindowLogMax(27)).map_err(wrong)?;
                context.ref_prefix(prefix).map_err(wrong)?;
            }
            Err(code) => return Err(wrong(code)),
        }
    }
    if out.len() != raw_len {
        return Err(Error::protocol(what, format!("{} bytes instead of {raw_len}", out.len())));
    }
    Ok(Bytes::from(out))
}

fn window_log(bytes: usize) -> u32 {
    bytes.next_power_of_two().trailing_zeros().clamp(10, 27)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_near_its_base_costs_about_what_is_new() {
        let commit = |parent: Hash, root: Hash, n: u32| {
            format!(
                "{{\"syncline\":\"commit/1\",\"parents\":[\"{parent}\"],\"generation\":{n},\"root\":\"{root}\",\
                 \"author\":\"ada <ada@example>\",\"hlc\":{},\"message\":\"change {n}\"}}",
                116_117_800_000_000_u64 + u64::from(n)
            )
        };
        let base = commit(Hash::of(b"0"), Hash::of(b"r0"), 1);
        let base_id = Hash::of(base.as_bytes());
        let root = Hash::of(b"r1");
        let next = commit(base_id, root, 2);
        let prefix = commit_prefix(Some((base_id, base.as_bytes())), root);
        let squeezed = squeeze(next.as_bytes(), &prefix).unwrap();
        assert!(squeezed.payload.len() < 60, "{} bytes", squeezed.payload.len());
        assert_eq!(unsqueeze("a commit", &squeezed, &prefix).unwrap(), next.as_bytes());
        assert!(unsqueeze("a commit", &squeezed, b"another prefix").map_or(true, |text| text != next.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_bytes_give_text_or_an_error(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            raw_len in any::<u32>(),
        ) {
            let _ = unsqueeze("a commit", &Squeezed { raw_len, payload: payload.into() }, b"prefix");
        }

        #[test]
        fn any_text_survives(text in proptest::collection::vec(0..4u8, 0..200_000), prefix in proptest::collection::vec(0..4u8, 0..300)) {
            let squeezed = squeeze(&text, &prefix).unwrap();
            prop_assert_eq!(unsqueeze("a root", &squeezed, &prefix).unwrap(), text);
        }
    }
}

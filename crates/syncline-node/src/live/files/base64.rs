//! Bytes as base64 (RFC 4648, section 4), which is how JSON carries them. Owns nothing.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding is written, and may be left out.
const CODE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes as text.
pub(super) fn encode(bytes: &[u8]) -> String {
    CODE.encode(bytes)
}

/// The bytes of a text; `None` when it is none of any. Padding may be left out, line ends and spaces may not be there.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    CODE.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_the_standard_writes_and_refuses_all_else() {
        let good = [("", ""), ("Zg==", "f"), ("Zg", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")];
        for (text, bytes) in good {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        for (text, bytes) in good {
            assert!(
                encode(bytes.as_bytes()).starts_with(text) && encode(bytes.as_bytes()).len().is_multiple_of(4),
                "{bytes}"
            );
        }
        let all: Vec<u8> = (0..=255).collect();
        for len in 0..=all.len() {
            assert_eq!(decode(&encode(&all[..len])).as_deref(), Some(&all[..len]));
        }
        assert_eq!(decode("+/+/").as_deref(), Some(&[0xfb, 0xff, 0xbf][..]));
        for bad in ["Z", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zg==Zg==", "=", "====", "Zm-_", "Z\u{e9}=="] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}

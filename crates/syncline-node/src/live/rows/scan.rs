//! JSON read in one pass, as programs write it: without escapes in texts. What is otherwise is not read here.
//!
//! Owns nothing. Every function gives nothing where the text is no JSON, or is more than is read here: then somebody else reads it, who knows
//! all of JSON and says what is wrong. So nothing here has to explain itself, and what it does give has to be right.

/// A value that is no object and no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw<'a> {
    Null,
    Bool(bool),
    /// As it is written, and whether it is an integer.
    Number(&'a [u8], bool),
    /// What is between the quotes: neither escapes nor control characters are in there. Whether it is UTF-8 has been asked before.
    Text(&'a [u8]),
}

/// A place in a text.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// At the beginning of a text, which is UTF-8.
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Whether this byte is next; then it is taken.
    fn takes(&mut self, byte: u8) -> bool {
        let is = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is);
        is
    }

    /// Nothing is left.
    pub(crate) fn end(mut self) -> Option<()> {
        self.space();
        (self.at == self.text.len()).then_some(())
    }

    /// An object, each of whose members `member` reads from where its value begins.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.space();
        if !self.takes(b'{') {
            return None;
        }
        self.space();
        if self.takes(b'}') {
            return Some(());
        }
        loop {
            self.space();
            let name = self.text()?;
            self.space();
            if !self.takes(b':') {
                return None;
            }
            self.space();
            member(self, name)?;
            self.space();
            if self.takes(b'}') {
                return Some(());
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    /// Passes over a value, or over an object of values.
    pub(crate) fn pass(&mut self) -> Option<()> {
        match self.text.get(self.at)? {
            b'{' => self.object(|scan, _| scan.raw().map(drop)),
            _ => self.raw().map(drop),
        }
    }

    /// A value that is no object and no list.
    pub(crate) fn raw(&mut self) -> Option<Raw<'a>> {
        match self.text.get(self.at)? {
            b'"' => self.text().map(Raw::Text),
            b'-' | b'0'..=b'9' => self.number(),
            b'n' => self.word(b"null", Raw::Null),
            b't' => self.word(b"true", Raw::Bool(true)),
            b'f' => self.word(b"false", Raw::Bool(false)),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8], is: Raw<'a>) -> Option<Raw<'a>> {
        let found = self.text[self.at..].starts_with(word);
        self.at += word.len();
        found.then_some(is)
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        if !self.takes(b'"') {
            return None;
        }
        let from = self.at;
        self.at += plain(&self.text[from..]);
        let text = &self.text[from..self.at];
        self.takes(b'"').then_some(text)
    }

    fn number(&mut self) -> Option<Raw<'a>> {
        let (from, mut integer) = (self.at, true);
        self.takes(b'-');
        if !self.takes(b'0') && self.digits() == 0 {
            return None;
        }
        if self.takes(b'.') {
            integer = false;
            if self.digits() == 0 {
                return None;
            }
        }
        if self.takes(b'e') || self.takes(b'E') {
            integer = false;
            if !self.takes(b'+') {
                self.takes(b'-');
            }
            if self.digits() == 0 {
                return None;
            }
        }
        Some(Raw::Number(&self.text[from..self.at], integer))
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - from
    }
}

/// How many bytes come before a quote, a backslash or a control character: eight are looked at at once.
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The lowest bit that is set belongs to a byte that is meant; above it there may be others.
    let below = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word & HIGHS;
    let (mut at, mut rest) = (0, text);
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let found =
            below(word, 0x20) | below(word ^ (ONES * u64::from(b'"')), 1) | below(word ^ (ONES * u64::from(b'\\')), 1);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        (at, rest) = (at + 8, after);
    }
    let ends = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    at + rest.iter().position(ends).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_plain_text_ends_where_one_byte_at_a_time_says() {
        let ends = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
        for byte in 0..=u8::MAX {
            for other in [b'a', 0x1f, b'"', b'\\', 0x80, 0xff, 0x21, 0x5d] {
                for at in 0..20 {
                    let mut text = [b'x'; 20];
                    (text[at], text[(at + 3) % 20]) = (byte, other);
                    assert_eq!(plain(&text), text.iter().position(ends).unwrap_or(20), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn it_reads_what_is_json_and_nothing_else() {
        let whole = |text: &str| {
            let mut scan = Scan::new(text.as_bytes());
            scan.object(|scan, _| scan.pass()).and_then(|()| scan.end()).is_some()
        };
        for good in ["{}", " { } ", r#"{"a":-0.5e+3,"b" : [0,1][0]}"#, r#"{"a":1}"#, r#"{"k":{"id":1},"t":null}"#] {
            let json = serde_json::from_str::<serde_json::Value>(good).is_ok();
            assert_eq!(whole(good), json, "{good}");
        }
        // Numbers and words cut, doubled, and with what is none.
        let mut rng = syncline_base::rng::Rng::from_seed(7);
        let parts = [
            "{", "}", "\"a\"", ":", ",", "1", "-", "0", ".5", "e9", "true", "nul", "null", " ", "x", "\"", "\\", "[",
            "]",
        ];
        for _ in 0..50_000 {
            let text: String = (0..rng.below(9)).map(|_| parts[rng.below(parts.len() as u64) as usize]).collect();
            if whole(&text) {
                assert!(serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&text).is_ok(), "{text}");
            }
        }
    }
}

//! Positions as text: what was read, in a form that people can copy and programs can compare byte for byte.
//!
//! `HUB@N` for each hub, joined by `+`; then `~ORIGIN:SEQ:TAG` for each origin whose transactions were read before a hub had
//! taken them in. Nothing read is `0`. Hubs and origins are 32 hex digits, tags 16. Owns no state.
//!
//! A position that is only for waiting, because nobody has read what is in it, stands behind `after:`.

use syncline_sync::live::{Context, Coverage, Dot, Origin, Tag};

use crate::{Error, Result};

/// What nothing has been read of.
const NOTHING: &str = "0";

/// Before what is only for waiting.
const WAIT: &str = "after:";

/// A context as text that nobody has read: somebody who waits until it is there sees all that is in it.
#[must_use]
pub fn of_wait(context: &Context) -> String {
    format!("{WAIT}{}", of_context(context))
}

/// A context as text.
#[must_use]
pub fn of_context(context: &Context) -> String {
    let mut text = of_coverage(&context.seen);
    if text == NOTHING && !context.own.is_empty() {
        text.clear();
    }
    for dot in &context.own {
        text.push('~');
        text.push_str(&of_dot(dot));
    }
    text
}

/// A coverage as text.
#[must_use]
pub fn of_coverage(coverage: &Coverage) -> String {
    let parts: Vec<String> = coverage.iter().map(|(hub, n)| format!("{hub}@{n}")).collect();
    if parts.is_empty() { NOTHING.to_owned() } else { parts.join("+") }
}

/// The identity of a transaction as text.
#[must_use]
pub fn of_dot(dot: &Dot) -> String {
    format!("{}:{}:{:016x}", dot.origin, dot.seq, dot.tag.as_u64())
}

/// Reads the identity of a transaction.
///
/// # Errors
/// `invalid` when it is not the text of one.
pub fn parse_dot(text: &str) -> Result<Dot> {
    dot(text).ok_or_else(|| Error::invalid(format!("transaction {text:?}"), "it is the identity of none"))
}

/// Reads a position that is waited for, or gone on from.
///
/// # Errors
/// `invalid` when it is not the text of one.
pub fn parse_wait(text: &str) -> Result<Context> {
    let text = text.strip_prefix(WAIT).unwrap_or(text);
    parse(text)
}

/// Reads the position of somebody who has read it.
///
/// # Errors
/// `invalid` when it is not the text of one, or nobody has read what is in it.
pub fn parse(text: &str) -> Result<Context> {
    if text.starts_with(WAIT) {
        let why = "it is for waiting (`get --after`, `watch --from`): the writer has not read everything in it, and would overwrite what it \
                   never saw. Give the position of a `get`, or the one that a write with --read prints as `read`";
        return Err(Error::invalid(format!("reading at position {text:?}"), why));
    }
    parsed(text).ok_or_else(|| {
        let why = "it is none: give one as `put`, `get`, `watch` or `status` print it, unchanged";
        Error::invalid(format!("position {text:?}"), why)
    })
}

fn parsed(text: &str) -> Option<Context> {
    let mut parts = text.split('~');
    let mut context = Context::default();
    let seen = parts.next()?;
    if seen != NOTHING && !(seen.is_empty() && text.starts_with('~')) {
        for part in seen.split('+') {
            let (hub, n) = part.split_once('@')?;
            let hub = origin(hub)?;
            if context.seen.of(hub) != 0 {
                return None;
            }
            context.seen.raise(hub, count(n)?);
        }
    }
    for part in parts {
        context.own.push(dot(part)?);
    }
    Some(context)
}

fn dot(text: &str) -> Option<Dot> {
    let mut fields = text.split(':');
    let (name, seq, tag) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || tag.len() != 16 || !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let tag = Tag::from_u64(u64::from_str_radix(tag, 16).ok()?);
    Some(Dot { origin: origin(name)?, seq: count(seq)?, tag })
}

fn count(text: &str) -> Option<u64> {
    // What `parse` takes beside digits is not written here.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|n| plain && *n <= 1 << 62)
}

fn origin(text: &str) -> Option<Origin> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (nth, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(2 * nth..2 * nth + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    }
    Some(Origin::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(byte: u8) -> Origin {
        Origin::from_bytes([byte; 16])
    }

    #[test]
    fn positions_read_back() {
        let mut context = Context::default();
        assert_eq!(of_context(&context), "0");
        assert_eq!(parse("0").expect("nothing"), context);
        context.own.push(Dot { origin: name(9), seq: 3, tag: Tag::from_u64(7) });
        let text = of_context(&context);
        assert!(text.starts_with("~0909"), "{text}");
        assert_eq!(parse(&text).expect("own only"), context);
        context.seen.raise(name(1), 5);
        context.seen.raise(name(2), 1 << 62);
        let text = of_context(&context);
        assert_eq!(parse(&text).expect("both"), context);
        assert_eq!(parse_wait(&text).expect("both"), context);
    }

    #[test]
    fn what_nobody_has_read_is_waited_for_and_nothing_else() {
        let mut context = Context::default();
        context.seen.raise(name(1), 5);
        let text = of_wait(&context);
        assert_eq!(parse_wait(&text).expect("a position"), context);
        let refused = parse(&text).expect_err("nobody has read it");
        assert!(refused.to_string().contains("for waiting"), "{refused}");
        assert!(parse_wait("after:after:0").is_err());
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let hub = "01".repeat(16);
        let bad = [
            String::new(),
            "1".into(),
            format!("{hub}@0"),
            format!("{hub}@01"),
            format!("{hub}@+1"),
            format!("{hub}@{}", u64::MAX),
            format!("{hub}@1+{hub}@2"),
            format!("{hub}@1+"),
            format!("{hub}@1~{hub}:1:0"),
            format!("{hub}@1~{hub}:1:+000000000000000"),
            format!("{}@1", "+1".repeat(16)),
            "~".into(),
        ];
        for text in bad {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}

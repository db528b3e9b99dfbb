//! Scalars as text: one set of rules for reading and writing, so that what is exported reads back as the same value.
//!
//! Rules of reading: nothing is rounded, cut or wrapped silently, except decimal text to the nearest binary float.
//! Dates are ISO 8601; years outside 0000 to 9999 have a sign (`+12024-01-01`). A bare number is never a date: nobody
//! could tell its unit. Used for files of rows and for keys.

use std::io::Write as _;

use arrow_buffer::i256;

use crate::schema::Unit;

/// How many of a unit make a second.
pub const fn per_second(unit: Unit) -> i64 {
    match unit {
        Unit::S => 1,
        Unit::Ms => 1_000,
        Unit::Us => 1_000_000,
        Unit::Ns => 1_000_000_000,
    }
}

fn digits_of(unit: Unit) -> usize {
    match unit {
        Unit::S => 0,
        Unit::Ms => 3,
        Unit::Us => 6,
        Unit::Ns => 9,
    }
}

/// An integer in its plainest form: an optional sign and digits.
pub fn int(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 38 {
        return None;
    }
    // 18 digits fit into 64 bits whatever they are: that loop is the fast one.
    let (head, tail) = digits.split_at(digits.len().min(18));
    let mut value = i128::from(plain_digits(head)?);
    for digit in tail {
        value = value * 10 + i128::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    Some(if negative { -value } else { value })
}

fn plain_digits(text: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// A signed 64-bit integer; the common case of [`int`] without 128-bit arithmetic.
pub fn int64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || digits.len() > 18 {
        return i64::try_from(int(text)?).ok();
    }
    let value = match plain_digits(digits) {
        Some(value) => i64::try_from(value).ok()?,
        None => return i64::try_from(int(text)?).ok(),
    };
    Some(if digits.len() < text.len() { -value } else { value })
}

/// A float; text that is too large for the type's range is not one.
pub fn float64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    (value.is_finite() || !text.bytes().any(|b| b.is_ascii_digit())).then_some(value)
}

/// `true`, `false`, `t`, `f`, `1`, `0` in any case.
pub fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" => Some(true),
        b"0" | b"f" | b"F" => Some(false),
        _ if text.eq_ignore_ascii_case(b"true") => Some(true),
        _ if text.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// Writes a float so that reading it gives the same value: the shortest digits, `NaN`, `inf`, `-inf`.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value:?}");
}

/// Like [`write_float`] with the digits a float32 needs.
pub fn write_float32(out: &mut Vec<u8>, value: f32) {
    let _ = write!(out, "{value:?}");
}

/// Days since 1970-01-01 of a civil date (proleptic Gregorian). Howard Hinnant's algorithm.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // Both are within a month or a year by construction.
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}

fn two(text: &[u8]) -> Option<u32> {
    let [a @ b'0'..=b'9', b @ b'0'..=b'9'] = text else { return None };
    Some(u32::from(a - b'0') * 10 + u32::from(b - b'0'))
}

/// The date that text begins with, as days since 1970-01-01, and what follows it.
fn leading_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let sign = text.first().filter(|byte| matches!(byte, b'+' | b'-'));
    let body = &text[usize::from(sign.is_some())..];
    let width = if sign.is_some() { body.iter().position(|byte| *byte == b'-')? } else { 4 };
    if body.len() < width + 6 || !(4..=12).contains(&width) || body[width] != b'-' || body[width + 3] != b'-' {
        return None;
    }
    let magnitude = i64::try_from(plain_digits(&body[..width])?).ok()?;
    let year = if sign == Some(&b'-') { -magnitude } else { magnitude };
    let (month, day) = (two(&body[width + 1..width + 3])?, two(&body[width + 4..width + 6])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    (1..=longest).contains(&day).then(|| (days_from_civil(year, month, day), &body[width + 6..]))
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub fn date32(text: &[u8]) -> Option<i32> {
    let (days, rest) = leading_date(text)?;
    rest.is_empty().then(|| i32::try_from(days).ok())?
}

/// Writes a date.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    let _ = if (0..=9999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+05}-{month:02}-{day:02}")
    };
}

/// `HH:MM[:SS[.fraction]]` in units; a fraction finer than the unit is refused.
pub fn iso_time(text: &[u8], unit: Unit) -> Option<i64> {
    if text.len() < 5 || text[2] != b':' {
        return None;
    }
    let (hours, minutes) = (two(&text[0..2])?, two(&text[3..5])?);
    let (seconds, fraction) = match &text[5..] {
        [] => (0, &[][..]),
        [b':', a, b, rest @ ..] => (
            two(&[*a, *b])?,
            match rest {
                [] => rest,
                [b'.', fraction @ ..] if !fraction.is_empty() => fraction,
                _ => return None,
            },
        ),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let kept = digits_of(unit);
    let (head, tail) = fraction.split_at(fraction.len().min(kept));
    if tail.iter().any(|digit| *digit != b'0') {
        return None;
    }
    let mut part = i64::try_from(plain_digits(head)?).ok()?;
    for _ in head.len()..kept {
        part *= 10;
    }
    Some(i64::from(hours * 3600 + minutes * 60 + seconds) * per_second(unit) + part)
}

/// A time column's cell.
pub fn time(text: &[u8], unit: Unit) -> Option<i64> {
    // What is not within a day is written as a bare number, so only that is read from one.
    let odd = |value: &i64| !(0..86_400 * per_second(unit)).contains(value);
    iso_time(text, unit).or_else(|| int64(text).filter(odd))
}

/// Writes a time of day; what is not within a day, as its raw number.
pub fn write_time(out: &mut Vec<u8>, value: i64, unit: Unit) {
    let per = per_second(unit);
    if !(0..86_400 * per).contains(&value) {
        let _ = write!(out, "{value}");
        return;
    }
    let seconds = value / per;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if unit != Unit::S {
        let _ = write!(out, ".{:0width$}", value % per, width = digits_of(unit));
    }
}

/// Whether a timestamp's text says which offset from UTC it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// It has one.
    Given,
    /// It has none.
    Missing,
}

/// An ISO 8601 timestamp (`T` or a space between date and time; time may be missing) in units since the epoch, UTC
/// when an offset is given.
pub fn iso_timestamp(text: &[u8], unit: Unit) -> Option<(i64, Offset)> {
    let (days, rest) = leading_date(text)?;
    let per = i128::from(per_second(unit));
    let midnight = i128::from(days) * 86_400 * per;
    let Some((separator, rest)) = rest.split_first() else {
        return Some((i64::try_from(midnight).ok()?, Offset::Missing));
    };
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (clock, offset, seconds) = match rest {
        [clock @ .., b'Z' | b'z'] => (clock, Offset::Given, 0),
        _ => match rest.iter().rposition(|byte| matches!(byte, b'+' | b'-')) {
            Some(at) => (&rest[..at], Offset::Given, offset_seconds(&rest[at..])?),
            None => (rest, Offset::Missing, 0),
        },
    };
    let value = midnight + i128::from(iso_time(clock, unit)?) - i128::from(seconds) * per;
    Some((i64::try_from(value).ok()?, offset))
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (sign, text) = (if text[0] == b'-' { -1 } else { 1 }, &text[1..]);
    let (hours, minutes) = match text.len() {
        2 => (two(text)?, 0),
        4 => (two(&text[..2])?, two(&text[2..])?),
        5 if text[2] == b':' => (two(&text[..2])?, two(&text[3..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// Whether a zone is UTC, so that text without an offset is not ambiguous.
pub fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "utc" | "Z" | "Etc/UTC" | "+00:00" | "-00:00" | "GMT")
}

/// A timestamp column's cell, or why it is none (empty when there is no more to say than that).
pub fn timestamp(text: &[u8], unit: Unit, zone: Option<&str>) -> Result<i64, &'static str> {
    match (iso_timestamp(text, unit), zone) {
        (Some((value, Offset::Given)), Some(_)) | (Some((value, Offset::Missing)), None) => Ok(value),
        (Some((value, Offset::Missing)), Some(zone)) if is_utc(zone) => Ok(value),
        (Some((_, Offset::Missing)), Some(_)) => Err("has no offset from UTC, and the column's zone is not UTC"),
        (Some((_, Offset::Given)), None) => Err("has an offset from UTC, but the column has no zone"),
        (None, _) => Err(""),
    }
}

/// Writes a timestamp: UTC with `Z` when the column has a zone.
pub fn write_timestamp(out: &mut Vec<u8>, value: i64, unit: Unit, zoned: bool) {
    let per = per_second(unit);
    let (days, of_day) = (value.div_euclid(86_400 * per), value.rem_euclid(86_400 * per));
    write_date(out, days);
    out.push(b'T');
    write_time(out, of_day, unit);
    if zoned {
        out.push(b'Z');
    }
}

/// Decimal text as (negative, digits, how many of them are behind the point). Exponents are understood.
fn decimal_parts(text: &[u8]) -> Option<(bool, Vec<u8>, i64)> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&text[..at], int64(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, part) = match mantissa.iter().position(|b| *b == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && part.is_empty() || exponent.abs() > 1_000 {
        return None;
    }
    let digits: Vec<u8> = whole.iter().chain(part).copied().collect();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((negative, digits, i64::try_from(part.len()).ok()? - exponent))
}

/// Decimal text as the unscaled number, in plain digits; `None` when it is not a number or has more digits behind the point
/// than the type.
#[must_use]
pub fn unscaled(text: &[u8], scale: i8) -> Option<String> {
    let (negative, mut digits, behind) = decimal_parts(text)?;
    let shift = i64::from(scale) - behind;
    if shift >= 0 {
        digits.resize(digits.len() + usize::try_from(shift).ok()?, b'0');
    } else {
        let cut = usize::try_from(-shift).ok()?.min(digits.len());
        let lost = digits.split_off(digits.len() - cut);
        if lost.iter().any(|digit| *digit != b'0') {
            return None;
        }
    }
    let first = digits.iter().position(|digit| *digit != b'0');
    let Some(first) = first else { return Some("0".to_owned()) };
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{}", std::str::from_utf8(&digits[first..]).ok()?))
}

/// As [`unscaled`], if it has no more digits than the precision.
fn fitting(text: &[u8], precision: u8, scale: i8) -> Option<String> {
    unscaled(text, scale).filter(|number| number.trim_start_matches('-').len() <= usize::from(precision))
}

/// The common shape of a decimal, `-123.45` with at most 18 digits, without allocating.
fn short_decimal(text: &[u8], scale: i8) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let scale = usize::try_from(scale).ok()?;
    let (whole, part) = match digits.iter().position(|byte| *byte == b'.') {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() || part.len() > scale || whole.len() + scale > 18 {
        return None;
    }
    let mut value = plain_digits(whole)?;
    for digit in part {
        value = value * 10 + u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    for _ in part.len()..scale {
        value *= 10;
    }
    let value = i64::try_from(value).ok()?;
    Some(if digits.len() < text.len() { -value } else { value })
}

/// A decimal(≤ 38) column's cell.
pub fn decimal128(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    if let Some(value) = short_decimal(text, scale) {
        let limit = 10u64.checked_pow(u32::from(precision));
        return limit.is_none_or(|limit| value.unsigned_abs() < limit).then_some(i128::from(value));
    }
    fitting(text, precision, scale)?.parse().ok()
}

/// A decimal(≤ 76) column's cell.
pub fn decimal256(text: &[u8], precision: u8, scale: i8) -> Option<i256> {
    i256::from_string(&fitting(text, precision, scale)?)
}

/// Writes a decimal from the text of its unscaled number.
pub fn write_decimal(out: &mut Vec<u8>, unscaled: &str, scale: i8) {
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |digits| ("-", digits));
    out.extend_from_slice(sign.as_bytes());
    match usize::try_from(scale) {
        Ok(0) => out.extend_from_slice(digits.as_bytes()),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, part) = padded.split_at(padded.len() - scale);
            let _ = write!(out, "{whole}.{part}");
        }
        Err(_) => {
            out.extend_from_slice(digits.as_bytes());
            if digits != "0" {
                out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
            }
        }
    }
}

/// Hexadecimal bytes.
pub fn unhex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    for pair in text.chunks_exact(2) {
        out.push(nibble(pair[0])? << 4 | nibble(pair[1])?);
    }
    Some(())
}

/// Writes bytes as lowercase hexadecimal.
pub fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// A uuid with or without hyphens.
pub fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut plain = Vec::with_capacity(16);
    let hyphens = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
    match hyphens {
        true => {
            let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'-').collect();
            unhex(&digits, &mut plain)?;
        }
        false => unhex(text, &mut plain)?,
    }
    plain.try_into().ok()
}

/// Writes a uuid with hyphens.
pub fn write_uuid(out: &mut Vec<u8>, bytes: &[u8]) {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        write_hex(out, &[*byte]);
    }
}

#[cfg(test)]
mod tests;

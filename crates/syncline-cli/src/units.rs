//! Numbers as people read and write them: counts, sizes, durations, times.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

/// `1234567` as `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// Bytes with a decimal unit and three digits: `999 B`, `1.23 kB`, `45.6 MB`.
pub(crate) fn bytes(n: u64) -> String {
    if n < 1_000 {
        return format!("{n} B");
    }
    let mut value = n as f64;
    for unit in ["kB", "MB", "GB", "TB", "PB"] {
        value /= 1_000.0;
        // 999.5 would be shown as 1000: it belongs to the next unit.
        if value < 999.5 {
            let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
            return format!("{value:.digits$} {unit}");
        }
    }
    format!("{:.0} EB", value / 1_000.0)
}

/// A duration: `850 µs`, `12.3 ms`, `4.56 s`, `3 min 20 s`.
pub(crate) fn seconds(s: f64) -> String {
    if s < 0.000_999_5 {
        format!("{:.0} µs", s * 1e6)
    } else if s < 0.999_5 {
        let ms = s * 1e3;
        if ms < 99.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
    } else if s < 60.0 {
        format!("{s:.2} s")
    } else {
        format!("{:.0} min {:.0} s", (s / 60.0).floor(), (s % 60.0).floor())
    }
}

/// A time in the zone of this machine: `2026-01-31 17:05:09`.
pub(crate) fn time(ms: u64) -> String {
    time_in(ms, TimeZone::system())
}

fn time_in(ms: u64, zone: TimeZone) -> String {
    let stamp = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| format!("{ms} ms"), |t| t.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Reads a size: `500`, `64k`, `1.5MB`, `2GiB`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let wrong = || format!("`{text}` is no size; write 500, 64k, 1.5MB or 2GiB");
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "ki" => 1024.0,
        "mi" => 1024.0 * 1024.0,
        "gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    Ok((number * factor).round() as u64)
}

/// Reads a duration: `500ms`, `30s`, `10m`, `24h`, `7d`, `2w`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write 500ms, 30s, 10m, 24h, 7d or 2w");
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;

//! What is shown is never wider or wronger than it looks.

use super::*;

#[test]
fn counts_have_separators() {
    for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (6_001_215, "6,001,215")] {
        assert_eq!(count(n), text);
    }
    assert_eq!(counted(1, "row", "rows"), "1 row");
    assert_eq!(counted(2_000, "row", "rows"), "2,000 rows");
}

#[test]
fn sizes_have_three_digits() {
    for (n, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_999, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (260_123_456, "260 MB"),
        (u64::MAX, "18 EB"),
    ] {
        assert_eq!(bytes(n), text, "{n}");
    }
}

#[test]
fn durations_have_a_fitting_unit() {
    for (s, text) in [
        (0.0, "0 µs"),
        (0.000_85, "850 µs"),
        (0.000_999_6, "1.0 ms"),
        (0.0123, "12.3 ms"),
        (0.25, "250 ms"),
        (1.5, "1.50 s"),
        (59.99, "59.99 s"),
        (200.7, "3 min 20 s"),
    ] {
        assert_eq!(seconds(s), text, "{s}");
    }
}

#[test]
fn times_are_in_the_zone_asked_for() {
    assert_eq!(time_in(0, TimeZone::UTC), "1970-01-01 00:00:00");
    assert_eq!(time_in(1_769_879_109_000, TimeZone::UTC), "2026-01-31 17:05:09");
    assert_eq!(time_in(u64::MAX, TimeZone::UTC), format!("{} ms", u64::MAX));
}

#[test]
fn sizes_are_read() {
    for (text, n) in [("500", 500), ("64k", 64_000), ("1.5MB", 1_500_000), ("2GiB", 2 << 30), ("1 kB", 1_000)] {
        assert_eq!(parse_bytes(text), Ok(n), "{text}");
    }
    for text in ["", "MB", "1.2.3", "5 apples", "-1"] {
        assert!(parse_bytes(text).is_err(), "{text}");
    }
}

#[test]
fn durations_are_read() {
    assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
    assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
    for text in ["", "7", "d", "7 d", "99999999999999999999w", "18446744073709551615w"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

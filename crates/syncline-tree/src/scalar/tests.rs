use proptest::prelude::*;

use super::*;

fn written(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    f(&mut out);
    out
}

#[test]
fn known_values() {
    assert_eq!(date32(b"1970-01-01"), Some(0));
    assert_eq!(date32(b"2000-02-29"), Some(11_016));
    assert_eq!(date32(b"1900-02-29"), None);
    assert_eq!(date32(b"2023-04-31"), None);
    assert_eq!(date32(b"20240115"), None, "a bare number is no date");
    assert_eq!(date32(b"-0044-03-15"), Some(-735_525));
    assert_eq!(iso_timestamp(b"2020-01-01T00:00:00+01:00", Unit::S), Some((1_577_833_200, Offset::Given)));
    assert_eq!(iso_timestamp(b"2020-01-01 00:00", Unit::S), Some((1_577_836_800, Offset::Missing)));
    assert_eq!(iso_timestamp(b"2020-01-01T00:00:00.001", Unit::S), None, "would lose a millisecond");
    assert_eq!(iso_timestamp(b"2020-01-01T00:00:00.100", Unit::Us).map(|t| t.0 % 1_000_000), Some(100_000));
    assert_eq!(decimal128(b"12.50", 10, 2), Some(1250));
    assert_eq!(decimal128(b"12.505", 10, 2), None, "would lose a digit");
    assert_eq!(decimal128(b"12.500", 10, 2), Some(1250));
    assert_eq!(decimal128(b"1e3", 10, 2), Some(100_000));
    assert_eq!(decimal128(b"999.99", 5, 2), Some(99_999));
    assert_eq!(decimal128(b"1000", 5, 2), None, "too many digits");
    assert_eq!(decimal128(b".5", 5, 2), Some(50));
    assert_eq!(decimal128(b".", 5, 2), None);
    assert_eq!(int64(b"-9223372036854775808"), Some(i64::MIN));
    assert_eq!(int64(b"9223372036854775808"), None);
    assert_eq!(int64(b"1.0"), None);
    assert_eq!(int64(b""), None);
    assert_eq!(float64(b"1e400"), None);
    assert_eq!(float64(b"-inf"), Some(f64::NEG_INFINITY));
    assert_eq!(uuid(b"00112233-4455-6677-8899-aabbccddeeff").map(|u| u[15]), Some(0xff));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        int in any::<i64>(), float in any::<f64>(), days in any::<i32>(), bits in any::<i128>(), scale in 0i8..38,
    ) {
        prop_assert_eq!(int64(int.to_string().as_bytes()), Some(int));
        let text = written(|out| write_float(out, float));
        prop_assert!(float64(&text).is_some_and(|back| back == float || back.is_nan() && float.is_nan()));
        prop_assert_eq!(date32(&written(|out| write_date(out, i64::from(days)))), Some(days));
        for unit in [Unit::S, Unit::Ms, Unit::Us, Unit::Ns] {
            let text = written(|out| write_timestamp(out, int, unit, false));
            prop_assert_eq!(timestamp(&text, unit, None), Ok(int));
            let text = written(|out| write_timestamp(out, int, unit, true));
            prop_assert_eq!(timestamp(&text, unit, Some("Asia/Tokyo")), Ok(int));
            let day = int.rem_euclid(86_400 * per_second(unit));
            prop_assert_eq!(time(&written(|out| write_time(out, day, unit)), unit), Some(day));
        }
        let decimal = bits % 10i128.pow(38);
        let text = written(|out| write_decimal(out, &decimal.to_string(), scale));
        prop_assert_eq!(decimal128(&text, 38, scale), Some(decimal));
        prop_assert_eq!(decimal256(&text, 76, scale).map(|d| d.to_string()), Some(decimal.to_string()));
        let text = written(|out| write_decimal(out, &decimal.to_string(), -3));
        prop_assert_eq!(decimal128(&text, 38, -3), Some(decimal));
    }

    #[test]
    fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = (int(&text), int64(&text), float64(&text), date32(&text), uuid(&text));
        let _ = (decimal128(&text, 20, 5), decimal256(&text, 70, -5));
        for unit in [Unit::S, Unit::Ns] {
            let _ = (iso_time(&text, unit), iso_timestamp(&text, unit), timestamp(&text, unit, Some("UTC")));
        }
    }
}

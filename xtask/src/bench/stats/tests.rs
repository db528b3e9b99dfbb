use super::*;

#[test]
fn the_median_is_the_middle_and_of_an_even_number_the_mean_of_two() {
    assert_eq!(Summary::of([3.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
    assert_eq!(Summary::of([4.0, 1.0, 2.0, 9.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0 }));
    assert_eq!(Summary::of([7.0]), Some(Summary { median: 7.0, min: 7.0, max: 7.0 }));
    assert_eq!(Summary::of([]), None);
}

#[test]
fn a_summary_shows_its_spread_only_when_there_is_one() {
    assert_eq!(Summary::of([0.012, 0.01, 0.02]).unwrap().show(seconds), "12.0 ms (10.0 ms–20.0 ms)");
    assert_eq!(Summary::of([100.0, 100.0]).unwrap().show(bytes), "100 B");
}

#[test]
fn units_keep_three_digits() {
    assert_eq!(seconds(0.000_25), "250 µs");
    assert_eq!(seconds(0.004_2), "4.20 ms");
    assert_eq!(seconds(0.123_4), "123 ms");
    assert_eq!(seconds(12.345), "12.3 s");
    assert_eq!(bytes(0.0), "0");
    assert_eq!(bytes(999.0), "999 B");
    assert_eq!(bytes(1_500.0), "1.50 kB");
    assert_eq!(bytes(53_600_000.0), "53.6 MB");
    assert_eq!(bytes(-2_500_000_000.0), "−2.50 GB");
    assert_eq!(times(0.314), "0.31×");
    assert_eq!(times(41.96), "42.0×");
    assert_eq!(times(1234.5), "1234×");
    assert_eq!(times(f64::INFINITY), "–");
}

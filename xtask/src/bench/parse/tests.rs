use super::*;

const RSYNC: &str = "\nNumber of files: 2 (reg: 1, dir: 1)\nTotal file size: 5,000,001 bytes\nLiteral data: 321 bytes\n\
    Total bytes sent: 9,395\nTotal bytes received: 13,481\n\nsent 9,395 bytes  received 13,481 bytes\n";

#[test]
fn rsync_counts_both_directions() {
    assert_eq!(rsync_wire(RSYNC).unwrap(), 22_876);
    let error = rsync_wire("Total bytes sent: 9,395").unwrap_err().to_string();
    assert!(error.contains("Total bytes received"), "{error}");
    assert!(rsync_wire("Total bytes sent: many\nTotal bytes received: 1").is_err());
}

#[test]
fn restic_adds_what_its_summary_says() {
    let output =
        "{\"message_type\":\"status\",\"data_added\":3}\n{\"message_type\":\"summary\",\"data_added\":5000841}\n";
    assert_eq!(restic_added(output).unwrap(), 5_000_841);
    assert!(restic_added("{\"message_type\":\"status\"}").is_err());
    assert!(restic_added("{\"message_type\":\"summary\"}").is_err());
}

#[test]
fn versions_are_found_in_all_the_ways_in_which_tools_say_them() {
    for (said, meant) in [
        ("rsync  version 3.5.0  protocol version 32", "3.5.0"),
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", "0.14.0"),
        ("casync 2\n+SECCOMP", "2"),
        ("Xdelta version 3.0.11, Copyright (C) 2007", "3.0.11"),
        ("v0.51.3", "0.51.3"),
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "7.0.15"),
        ("nats-server: v2.15.2", "2.15.2"),
    ] {
        assert_eq!(version(said).unwrap(), meant);
    }
    assert!(version("no number here").is_err());
}

#[test]
fn the_last_object_counts_whatever_is_said_before() {
    assert_eq!(last_object("warning: {}\n{\"a\":1}\n{\"a\":2}\n").unwrap()["a"], 2);
    assert_eq!(last_object("{\n  \"a\": 3\n}\n").unwrap()["a"], 3);
    assert!(last_object("nothing").is_err());
}

#[test]
fn a_live_step_becomes_a_pace_in_seconds() {
    let report = serde_json::json!({"steps": [
        {"name": "1 writer", "transactions": 3, "rows": 30, "transactions_per_second": 1.5, "rows_per_second": 15.0,
         "latency_us": {"p50": 203, "p99": 7925, "p999": 8268, "max": 9448}},
        {"name": "nothing", "transactions": 0, "rows": 0, "transactions_per_second": 0.0, "rows_per_second": 0.0},
    ]});
    let step = live_step(&report, "1 writer").unwrap();
    let found = pace(step, false).unwrap();
    assert!((found.per_second - 1.5).abs() < 1e-9 && (found.p50 - 203e-6).abs() < 1e-12, "{found:?}");
    assert!((found.p99 - 7925e-6).abs() < 1e-12 && (found.p999 - 8268e-6).abs() < 1e-12, "{found:?}");
    assert!((pace(step, true).unwrap().per_second - 15.0).abs() < 1e-9);
    let error = pace(live_step(&report, "nothing").unwrap(), false).unwrap_err().to_string();
    assert!(error.contains("nothing was done"), "{error}");
    assert!(live_step(&report, "2 writers").unwrap_err().to_string().contains("2 writers"));
    let error = pace(&serde_json::json!({"transactions": 1, "transactions_per_second": 1.0}), false).unwrap_err();
    assert!(error.to_string().contains("p50"), "{error}");
}

#[test]
fn a_live_step_is_found_by_how_it_begins() {
    let report = serde_json::json!({"steps": [{"name": "first copy of 5 rows", "n": 1}, {"name": "rejoin with 5 rows", "n": 2}]});
    assert_eq!(live_step_like(&report, "rejoin").unwrap()["n"], 2);
    let error = live_step_like(&report, "heal").unwrap_err().to_string();
    assert!(error.contains("\"heal\""), "{error}");
}

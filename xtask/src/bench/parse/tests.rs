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

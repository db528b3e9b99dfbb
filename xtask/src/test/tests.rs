//! Counting is only worth something when it cannot miss a failure.

use super::*;

#[test]
fn result_lines_are_read() {
    let ok = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.10s";
    assert_eq!(result_line(ok), Some((12, 0)));
    let bad = "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.05s";
    assert_eq!(result_line(bad), Some((7, 2)));
    assert_eq!(result_line("test some::test ... ok"), None);
    assert_eq!(result_line("running 12 tests"), None);
}

#[test]
fn all_result_lines_are_added() {
    let script = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'
                  echo noise
                  echo 'test result: FAILED. 3 passed; 1 failed; 0 ignored'
                  exit 101";
    let (mut counts, mut shown) = (Counts::default(), Vec::new());
    let status = counted(Command::new("sh").args(["-c", script]), &mut counts, &mut shown).expect("sh starts");
    assert!(String::from_utf8_lossy(&shown).contains("noise\n"));
    assert!(!status.success());
    assert_eq!(counts, Counts { passed: 5, failed: 1 });
}

#[test]
fn a_failed_step_is_never_reported_as_nothing_failed() {
    let none = Counts { passed: 9, failed: 0 };
    let some = Counts { passed: 9, failed: 2 };
    assert_eq!(unnamed(&[], &none), 0);
    assert_eq!(unnamed(&["clippy"], &none), 1);
    // The tests did not compile: no test failed, yet the step did.
    assert_eq!(unnamed(&["tests"], &none), 1);
    // Two failed tests are counted already.
    assert_eq!(unnamed(&["tests", "clippy"], &some), 1);
}

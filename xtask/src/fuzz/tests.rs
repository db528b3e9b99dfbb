use super::*;

#[test]
fn the_input_that_broke_a_target_is_found_in_its_log() {
    let log = "#2 INITED\n==7== ERROR: libFuzzer: deadly signal\n\
               artifact_prefix='/r/fixtures/fuzz/leaf/found-'; Test unit written to /r/fixtures/fuzz/leaf/found-crash-da39\n\
               Base64: AA==\n";
    assert_eq!(written(log), Some(Path::new("/r/fixtures/fuzz/leaf/found-crash-da39")));
    assert_eq!(written("Done 7 runs in 1 second(s)\n"), None);
}

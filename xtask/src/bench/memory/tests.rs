use super::*;

#[test]
fn the_largest_process_is_judged_and_named() {
    let mut memory = Memory::new();
    assert!(memory.verdict().is_none(), "nothing of ours ran");
    memory.saw("import", 120_000_000, "syncline import a", true);
    memory.saw("import", 90_000_000, "syncline import b", true);
    memory.saw(NODE, 400_000_001, "syncline up", true);
    memory.saw(NODE, 5_000_000, "syncline up", false);
    let verdict = memory.verdict().expect("something ran");
    assert_eq!((verdict.met, verdict.measured.as_str()), (Some(false), "400 MB (up)"));
    let peaks = memory.peaks();
    assert_eq!((peaks[0].0, peaks[0].1.processes), (NODE, 1));
    assert_eq!((peaks[1].1.bytes, peaks[1].1.processes), (120_000_000, 2));
    assert_eq!(peaks[1].1.command, "syncline import a");
}

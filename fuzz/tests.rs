//! What every `fuzz` module tests: included by each of them, so that it runs with that crate's unit tests.

use std::path::Path;

use super::TARGETS;

/// Inputs that once broke something, and those that reach far: what the fuzzer has found stays found.
#[test]
fn every_kept_input_passes() {
    for (name, target) in TARGETS {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/fuzz").join(name);
        let entries = place.read_dir().unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        let mut inputs = 0;
        for entry in entries {
            target(&std::fs::read(entry.expect("an entry").path()).expect("a file"));
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no inputs");
    }
}

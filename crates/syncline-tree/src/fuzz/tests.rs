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

/// What a fuzzer would find at once is found without one.
#[test]
fn made_inputs_pass_with_and_without_damage() {
    let mut rng = syncline_base::rng::Rng::from_seed(3);
    for (_, target) in TARGETS {
        for _ in 0..200 {
            let mut data = vec![0; 3 + 3 * usize::try_from(rng.below(4)).expect("small")];
            rng.fill(&mut data);
            data[0] |= 1;
            target(&data);
        }
    }
}

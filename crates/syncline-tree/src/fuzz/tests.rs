use super::TARGETS;

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

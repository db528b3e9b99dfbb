use std::collections::BTreeMap;

use syncline_base::rng::Rng;

use super::*;

#[test]
fn rows_are_known_until_they_are_durable() {
    let (mut rng, mut flight, mut model) = (Rng::from_seed(9), Flight::default(), BTreeMap::new());
    let (mut durable, mut until) = (0, 1);
    for _ in 0..3000 {
        // Many of them begin at neighbouring slots.
        let rows: Vec<u64> = (0..1 + rng.below(50)).map(|_| rng.below(4000) << rng.below(3)).collect();
        let waits = rows.iter().any(|row| model.get(row).is_some_and(|until| *until > durable));
        assert_eq!(flight.has_any(&rows, durable), waits);
        flight.add(&rows, until, durable);
        model.extend(rows.iter().map(|row| (*row, until)));
        until += rng.below(3);
        durable = durable.max(until.saturating_sub(1 + rng.below(30)));
    }
    assert!(flight.slots.len() <= 1 << 14, "{} slots for what is on its way", flight.slots.len());
}

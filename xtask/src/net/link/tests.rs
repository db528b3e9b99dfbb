//! A line does what its rule says.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn through(rule: Rule, packets: u32, gap: Duration) -> Vec<Way> {
    let (mut line, mut rng) = (Line::default(), Rng::from_seed(1));
    (0..packets).map(|n| line.pass(&rule, gap * n, 1000, &mut rng)).collect()
}

fn count(ways: &[Way], is: impl Fn(&Way) -> bool) -> usize {
    ways.iter().filter(|way| is(way)).count()
}

#[test]
fn without_a_rule_all_arrive_at_once_and_a_cut_line_lets_nothing_pass() {
    assert_eq!(through(Rule::default(), 3, MS), [Way::Arrives(Duration::ZERO), Way::Arrives(MS), Way::Arrives(MS * 2)]);
    assert_eq!(through(Rule { cut: true, ..Rule::default() }, 2, MS), [Way::Cut, Way::Cut]);
}

#[test]
fn delay_and_jitter_keep_the_order() {
    let ways = through(Rule { delay: MS * 20, jitter: MS * 10, ..Rule::default() }, 500, MS);
    let mut last = Duration::ZERO;
    for (n, way) in (0..).zip(&ways) {
        let Way::Arrives(at) = way else { panic!("{way:?}") };
        assert!(*at >= MS * (n + 20) && *at < MS * (n + 30) && *at >= last, "packet {n} at {at:?}");
        last = *at;
    }
}

#[test]
fn as_many_are_lost_and_overtake_as_the_rule_says() {
    let ways = through(Rule { delay: MS * 20, loss: 500, overtake: 1000, ..Rule::default() }, 10_000, MS);
    let lost = count(&ways, |way| *way == Way::Lost);
    assert!((400..600).contains(&lost), "{lost} of 10,000 at 5 %");
    let overtook = count(&ways, |way| matches!(way, Way::Overtakes(_)));
    assert!((800..1100).contains(&overtook), "{overtook} of 10,000 at 10 %");
}

#[test]
fn a_slow_line_sends_at_its_rate_and_drops_what_waits_too_long() {
    // 256 kbit/s are 32 packets of 1,000 bytes in a second, and one more second's worth waits.
    let ways = through(Rule { rate: Some(256_000), ..Rule::default() }, 1000, MS);
    let arrived = count(&ways, |way| matches!(way, Way::Arrives(_)));
    assert!((62..=66).contains(&arrived), "{arrived} came through");
    assert_eq!(count(&ways, |way| *way == Way::Full), 1000 - arrived);
    assert_eq!(ways[1], Way::Arrives(MS * 62 + MS / 2));
}

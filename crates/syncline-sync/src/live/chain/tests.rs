use proptest::prelude::*;

use super::*;

fn tag(n: u64) -> Tag {
    Tag::of(&n.to_le_bytes())
}

#[test]
fn a_chain_without_forks_is_told_by_numbers() {
    let mut chain = Chain::default();
    assert_eq!(chain.place(2, tag(2), tag(1)), Place::Gap);
    chain.add(1, tag(1), Tag::NONE);
    chain.add(2, tag(2), tag(1));
    assert_eq!(chain.place(2, tag(2), tag(1)), Place::Known);
    assert_eq!(chain.place(2, tag(9), tag(1)), Place::Fork);
    assert_eq!(chain.place(3, tag(3), tag(2)), Place::Next);
    assert_eq!(chain.place(3, tag(3), tag(9)), Place::Gap);
    assert!(chain.is_before_or_at((1, tag(1)), (2, tag(2))) && !chain.is_before_or_at((2, tag(2)), (1, tag(1))));
    assert_eq!(chain.head(), Some((2, tag(2))));
}

/// Random trees of transactions: (number, parent), shown in an order in which parents come first.
fn trees() -> impl Strategy<Value = Vec<(u64, Option<usize>)>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 1..20).prop_map(|picks| {
        let mut nodes: Vec<(u64, Option<usize>)> = vec![(1, None)];
        for pick in picks {
            let parent = pick.index(nodes.len() + 1);
            let of_root = parent == nodes.len();
            nodes.push(if of_root { (1, None) } else { (nodes[parent].0 + 1, Some(parent)) });
        }
        nodes
    })
}

proptest! {
    #[test]
    fn branches_are_told_apart_whatever_came_first(nodes in trees(), seed: u64, room in 0..200usize) {
        let mut rng = syncline_base::rng::Rng::from_seed(seed);
        let prev = |at: usize| nodes[at].1.map_or(Tag::NONE, |parent| tag(parent as u64));
        let mut chain = Chain::default();
        let mut left: Vec<usize> = (0..nodes.len()).collect();
        let mut shown = vec![false; nodes.len()];
        while !left.is_empty() {
            let ready: Vec<usize> = left.iter().copied().filter(|at| nodes[*at].1.is_none_or(|p| shown[p])).collect();
            let pick = ready[rng.below(ready.len() as u64) as usize];
            prop_assert!(matches!(chain.place(nodes[pick].0, tag(pick as u64), prev(pick)), Place::Next | Place::Fork));
            chain.add(nodes[pick].0, tag(pick as u64), prev(pick));
            shown[pick] = true;
            left.retain(|at| *at != pick);
        }
        let mut again = Chain::default();
        again.join(&chain);
        // In pieces, as bytes, whatever their length.
        let (mut told, mut pieces) = (Chain::default(), 0);
        while told.told() != again.told() {
            let mut bytes = Vec::new();
            again.piece(Origin::from_bytes([1; 16]), told.told(), room).put(&mut bytes);
            prop_assert!(told.extend(&ChainPiece::read(&mut Reader::new(bytes.into())).unwrap()));
            pieces += 1;
        }
        prop_assert_eq!(&told, &again);
        prop_assert!(room >= 8 || pieces == nodes.len());
        for old in 0..nodes.len() {
            for new in 0..nodes.len() {
                let mut at = Some(new);
                while at.is_some_and(|at| at != old) {
                    at = nodes[at.unwrap()].1;
                }
                let is = again.is_before_or_at((nodes[old].0, tag(old as u64)), (nodes[new].0, tag(new as u64)));
                prop_assert_eq!(is, at.is_some(), "{} {}", old, new);
            }
        }
    }
}

#[test]
fn a_long_chain_is_copied_shortened_and_told_in_pieces() {
    let mut chain = Chain::default();
    for seq in 1..=1000 {
        chain.add(seq, tag(seq), if seq == 1 { Tag::NONE } else { tag(seq - 1) });
    }
    let copy = chain.clone();
    for seq in (400..=1000).rev() {
        chain.forget(&Dot { origin: Origin::from_bytes([1; 16]), seq, tag: tag(seq) });
    }
    assert_eq!((chain.head(), copy.head()), (Some((399, tag(399))), Some((1000, tag(1000)))));
    assert!(copy.knows(400, tag(400)) && !chain.knows(400, tag(400)) && chain.knows(256, tag(256)));
    let piece = copy.piece(Origin::from_bytes([1; 16]), chain.told(), 800);
    assert_eq!((piece.after, piece.main.len()), (399, 100));
    assert!(piece.names(&Dot { origin: Origin::from_bytes([1; 16]), seq: 400, tag: tag(400) }));
    assert!(!piece.names(&Dot { origin: Origin::from_bytes([1; 16]), seq: 399, tag: tag(399) }));
    assert!(chain.extend(&piece) && !chain.extend(&piece));
    assert_eq!(chain.head(), Some((499, tag(499))));
}

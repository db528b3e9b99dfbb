use proptest::prelude::*;
use syncline_base::rng::Rng;

use super::*;

fn entry(n: u64) -> Entry {
    let id = Hash::of(&n.to_le_bytes());
    Entry { id, rows: n % 7 + 1, last: Bytes::copy_from_slice(&(n * 3).to_be_bytes()) }
}

fn node(entries: &[Entry]) -> Node {
    Node::parse(encode(1, entries).expect("small enough")).expect("just encoded")
}

/// `base` with some entries gone, some replaced, some new.
fn edited(base: &[Entry], seed: u64, percent: u64) -> Vec<Entry> {
    let mut rng = Rng::from_seed(seed);
    let mut out = Vec::new();
    for entry in base {
        match rng.below(100) {
            n if n < percent => {}
            n if n < 2 * percent => out.push(Entry { id: Hash::of(&rng.next_u64().to_le_bytes()), ..entry.clone() }),
            n if n < 3 * percent => {
                let mut last = entry.last.to_vec();
                last.push(0);
                out.push(Entry { rows: rng.below(1 << 40) + 1, last: last.into(), id: entry.id });
                let last = [&out[out.len() - 1].last[..], &[5]].concat();
                out.push(Entry { last: last.into(), ..entry.clone() });
            }
            _ => out.push(entry.clone()),
        }
    }
    if out.is_empty() { vec![entry(1 << 40)] } else { out }
}

#[test]
fn golden() {
    let bytes = encode(2, &[entry(1), entry(2)]).expect("small enough");
    assert_eq!(Hash::of(&bytes).to_string(), "6051d76afe0d28cd35cc448ea3238c117e0cd5721fea260186fc2f8b26a0908e");
    let patch = encode_patch(&node(&[entry(1), entry(2), entry(3)]), &[entry(1), Entry { rows: 9, ..entry(2) }]);
    assert_eq!(Hash::of(&patch).to_string(), "daf813b2744581e5e4f33c45c27a11594ae702139fdb8e428711bf5cd19eb569");
}

#[test]
fn reads_what_it_wrote() {
    let entries: Vec<_> = (0..300).map(entry).collect();
    let node = node(&entries);
    assert_eq!((node.level(), node.len()), (1, 300));
    assert_eq!(node.entries().collect::<Vec<_>>(), entries);
    assert_eq!(node.total_rows(), entries.iter().map(|e| e.rows).sum::<u64>());
    assert_eq!(node.find(&[]), 0);
    assert_eq!(node.find(&entries[17].last), 17);
    assert_eq!(node.find(&[&entries[17].last[..], &[0]].concat()), 18);
    assert_eq!(node.find(&[255; 9]), 300);
}

#[test]
fn one_changed_child_costs_about_its_id() {
    let entries: Vec<_> = (0..300).map(entry).collect();
    let mut changed = entries.clone();
    changed[200].id = Hash::of(b"other");
    assert!(encode_patch(&node(&entries), &changed).len() <= 32 + 6);
    assert_eq!(encode_patch(&node(&entries), &entries).len(), 1);
}

#[test]
fn refuses_what_is_not_canonical() {
    let refused = |entries: &[Entry]| Node::parse(encode(1, entries).expect("small enough")).is_err();
    assert!(refused(&[]));
    assert!(refused(&[entry(2), entry(1)]));
    assert!(refused(&[entry(1), entry(1)]));
    assert!(refused(&[Entry { rows: 0, ..entry(1) }]));
    assert!(refused(&[Entry { rows: u64::MAX, ..entry(1) }, entry(2)]));
    assert!(Node::parse(encode(0, &[entry(1)]).expect("small enough")).is_err());
    assert!(Node::parse(encode(MAX_HEIGHT, &[entry(1)]).expect("small enough")).is_err());
}

proptest! {
    #[test]
    fn patches_make_what_they_were_made_from(seed: u64, count in 1_u64..400, percent in 0_u64..34) {
        let base: Vec<_> = (0..count).map(entry).collect();
        let new = edited(&base, seed, percent);
        let patch = encode_patch(&node(&base), &new);
        prop_assert_eq!(decode_patch(&patch, &node(&base)).expect("just encoded"), encode(1, &new).expect("small"));
    }

    #[test]
    fn damaged_bytes_never_panic(seed: u64, at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
        let base: Vec<_> = (0..40).map(entry).collect();
        let mut bytes = encode(1, &base).expect("small enough").to_vec();
        let at_byte = at.index(bytes.len());
        bytes[at_byte] ^= value;
        if let Ok(node) = Node::parse(bytes.clone().into()) {
            prop_assert_eq!(&encode(node.level(), &node.entries().collect::<Vec<_>>()).expect("small")[..], &bytes[..]);
        }
        let _ = Node::parse(Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())]));
        let mut patch = encode_patch(&node(&base), &edited(&base, seed, 10));
        let at_byte = at.index(patch.len());
        patch[at_byte] ^= value;
        let _ = decode_patch(&patch, &node(&base));
        let _ = decode_patch(&patch[..cut.index(patch.len())], &node(&base));
    }
}

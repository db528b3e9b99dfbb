use syncline_base::SystemClock;
use syncline_base::rng::Rng;

use super::super::{Counts, Meter, Op, Wrapped};
use super::*;
use crate::backend::conformance;
use crate::backend::memory::Memory;
use crate::backend::object::ObjectBackend;
use crate::store::{Options, Store};

struct Counted {
    below: Arc<dyn Backend>,
    meter: Arc<Meter>,
    ahead: Arc<dyn Backend>,
}

impl Counted {
    fn new(below: Arc<dyn Backend>, limit: u64) -> Self {
        let meter = Arc::new(Meter::new(Arc::new(SystemClock)));
        let ahead = Ahead::new(Arc::new(Wrapped::new(Arc::clone(&below), Arc::clone(&meter))), limit);
        Self { below, meter, ahead: Arc::new(ahead) }
    }

    fn reads(&self) -> Counts {
        self.meter.counts().get(&Op::Read).copied().unwrap_or_default()
    }
}

#[test]
fn it_keeps_the_contract() {
    for limit in [0, 1 << 20, 64 << 20] {
        conformance::check(&Counted::new(Arc::new(Memory::new()), limit).ahead);
        conformance::check(&Counted::new(Arc::new(ObjectBackend::open("memory:///p").unwrap()), limit).ahead);
    }
}

#[test]
fn small_reads_make_few_requests_in_either_direction() {
    let below = Arc::new(Memory::without_append());
    let mut bytes = vec![0; 40 << 20];
    Rng::from_seed(1).fill(&mut bytes);
    below.put("packs/a", bytes.clone().into()).unwrap();
    let pieces: Vec<usize> = (0..bytes.len()).step_by(7_001).collect();
    for backwards in [false, true] {
        let counted = Counted::new(below.clone(), 64 << 20);
        for n in 0..pieces.len() {
            let from = pieces[if backwards { pieces.len() - 1 - n } else { n }];
            let to = bytes.len().min(from + 7_001);
            assert!(counted.ahead.read("packs/a", from as u64..to as u64).unwrap() == bytes[from..to]);
        }
        assert!(counted.reads().calls <= 2 + 5, "{} requests", counted.reads().calls);
    }
    // What may change is read every time.
    let counted = Counted::new(below, 64 << 20);
    counted.below.put("journal/a", Bytes::from_static(b"one")).unwrap();
    assert_eq!(counted.ahead.read("journal/a", 0..3).unwrap(), "one");
    assert_eq!(counted.ahead.read("journal/a", 0..3).unwrap(), "one");
    assert_eq!(counted.reads().calls, 2);
}

#[test]
fn jumping_around_in_more_than_is_kept_does_not_read_everything_again_and_again() {
    let below = Arc::new(Memory::without_append());
    let mut bytes = vec![0; 64 << 20];
    Rng::from_seed(2).fill(&mut bytes);
    below.put("packs/a", bytes.clone().into()).unwrap();
    let counted = Counted::new(below, 16 << 20);
    let mut rng = Rng::from_seed(3);
    for _ in 0..2_000 {
        let from = rng.below(bytes.len() as u64 - 4_096);
        let got = counted.ahead.read("packs/a", from..from + 4_096).unwrap();
        assert!(got == bytes[from as usize..from as usize + 4_096]);
    }
    let Counts { bytes, .. } = counted.reads();
    assert!(bytes < 2_000 * (192 << 10), "{bytes} bytes for 2000 reads");
}

#[test]
fn a_store_is_read_object_by_object_in_about_as_many_requests_as_it_has_8_mib() {
    let below: Arc<dyn Backend> = Arc::new(ObjectBackend::open("memory:///store").unwrap());
    let options = || Options { pack_bytes: 16 << 20, fold_objects: 1_000, ..Options::default() };
    let store = Store::create(Arc::clone(&below), options()).unwrap();
    let mut rng = Rng::from_seed(4);
    let mut ids = Vec::new();
    for _ in 0..6_000 {
        let mut bytes = vec![0; 4_000 + rng.below(4_000) as usize];
        rng.fill(&mut bytes);
        ids.push(store.put(&bytes).unwrap());
    }
    store.flush().unwrap();
    drop(store);
    let listed: Vec<u64> = below.list("").unwrap().into_iter().map(|(_, size)| size).collect();
    let (files, bytes) = (listed.len() as u64, listed.iter().sum::<u64>());
    for backwards in [false, true] {
        let counted = Counted::new(Arc::clone(&below), 64 << 20);
        let store = Store::open(Arc::clone(&counted.ahead), options()).unwrap();
        let opened = counted.reads().calls;
        assert!(opened <= 4 * files + 2, "{opened} requests to open {files} files");
        for n in 0..ids.len() {
            store.get(&ids[if backwards { ids.len() - 1 - n } else { n }]).unwrap();
        }
        let walked = counted.reads().calls - opened;
        assert!(walked <= 4 * files + bytes.div_ceil(8 << 20), "{walked} requests for {files} files of {bytes} bytes");
    }
}

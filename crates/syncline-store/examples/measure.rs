//! Measures the store on a directory: `cargo run --release -p syncline-store --example measure -- DIR`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_base::{Clock, Hash, SystemClock};
use syncline_store::backend::directory::Directory;
use syncline_store::{Backend, Encoded, Options, Store, codec};

fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = SystemClock.monotonic();
    let value = run();
    (value, SystemClock.monotonic() - start)
}

fn size(backend: &Arc<dyn Backend>) -> u64 {
    backend.list("").map_or(0, |files| files.iter().map(|file| file.1).sum())
}

#[expect(clippy::print_stdout, reason = "a program that measures prints what it measured")]
fn line(what: &str, value: impl std::fmt::Display) {
    println!("{what:<48} {value}");
}

fn main() -> syncline_store::Result<()> {
    let place = std::env::args().nth(1).unwrap_or_else(|| "/tmp/store-measure".to_owned());
    let backend: Arc<dyn Backend> = Arc::new(Directory::new(place));
    let store = Store::create(Arc::clone(&backend), Options { journal_bytes: 64 << 20, ..Options::default() })?;
    let mut rng = Rng::from_seed(1);

    let objects: Vec<Vec<u8>> = (0..20_000).map(|_| noise(&mut rng, 10 << 10)).collect();
    let (ids, took) = timed(|| objects.iter().map(|bytes| store.put(bytes)).collect::<Result<Vec<Hash>, _>>());
    let ids = ids?;
    let (flushed, flush) = timed(|| store.flush());
    flushed?;
    line("put, 20k random objects of 10 KiB, puts/s", format!("{:.0}", 20_000.0 / took.as_secs_f64()));
    line("flush after it (200 MB in packs), ms", flush.as_millis());
    let encoded: Vec<Encoded> = (0..20_000)
        .map(|_| {
            let bytes = Bytes::from(noise(&mut rng, 10 << 10));
            Encoded::whole(Hash::of(&bytes), codec::RAW, 10 << 10, bytes)
        })
        .collect();
    let (done, took) = timed(|| encoded.into_iter().try_for_each(|object| store.put_encoded(object)));
    done?;
    line("put_encoded, the same, puts/s", format!("{:.0}", 20_000.0 / took.as_secs_f64()));
    store.flush()?;
    let (again, took) = timed(|| objects.iter().try_for_each(|bytes| store.put(bytes).map(drop)));
    again?;
    line("put of what is there, puts/s", format!("{:.0}", 20_000.0 / took.as_secs_f64()));

    let cold = Store::open(Arc::clone(&backend), Options::default())?;
    let (got, took) = timed(|| (0..5000).try_for_each(|n| cold.get(&ids[n * 7919 % ids.len()]).map(drop)));
    got?;
    line("get, one by one, random, us", format!("{:.1}", took.as_secs_f64() * 1e6 / 5000.0));
    let (got, took) = timed(|| ids.chunks(1000).try_for_each(|part| cold.get_many(part).map(drop)));
    got?;
    line("get_many by 1000, objects/s", format!("{:.0}", 20_000.0 / took.as_secs_f64()));

    // Each object of a one-row commit: a leaf's patch, a node's patch, the root, the commit.
    let before = size(&backend);
    let mut slowest = Duration::ZERO;
    let (done, took) = timed(|| {
        (0..1000u64).try_for_each(|n| {
            store.put(&noise(&mut rng, 100))?;
            let (flushed, took) = timed(|| store.flush());
            slowest = slowest.max(took);
            flushed.inspect_err(|_| line("failed at", n))
        })
    });
    done?;
    line("flush of one 100-byte object, us", format!("{:.0}", took.as_secs_f64() * 1e3));
    line("  the slowest, us", slowest.as_micros());
    line("  bytes on disk", format!("{:.0}", (size(&backend) - before) as f64 / 1000.0));
    while backend.list("journal/")?.iter().all(|file| file.1 < 60 << 20) {
        (0..200).try_for_each(|_| store.put(&noise(&mut rng, 1000)).map(drop))?;
        store.flush()?;
    }
    drop(store);
    let (opened, took) = timed(|| Store::open(Arc::clone(&backend), Options::default()));
    opened?;
    line("open with a 60 MiB journal, indexed, ms", format!("{:.1}", took.as_secs_f64() * 1e3));
    for (name, _) in backend.list("index/")? {
        backend.delete(&name)?;
    }
    let (opened, took) = timed(|| Store::open(Arc::clone(&backend), Options::default()));
    opened?;
    line("open without the index (all rebuilt), ms", format!("{:.1}", took.as_secs_f64() * 1e3));
    Ok(())
}

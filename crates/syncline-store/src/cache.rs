//! A cache that is bounded in bytes.
//!
//! Source: the CLOCK algorithm ("A Paging Experiment with the Multics System", Corbató, 1968): what was used since the hand
//! last passed gets a second chance.
//!
//! Owns: what it holds. Survives nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// Values by key, at most so many bytes of them.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    limit: usize,
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    values: BTreeMap<K, Slot<V>>,
    /// Every key of `values` once, in the order in which the hand comes by.
    hand: VecDeque<K>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    weight: usize,
    used: bool,
}

impl<K: Ord + Copy, V: Clone> Cache<K, V> {
    /// A cache of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::new(Inner { values: BTreeMap::new(), hand: VecDeque::new(), bytes: 0 }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().expect("no code panics while it holds the cache")
    }

    /// A value, if it is here.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut inner = self.inner();
        let slot = inner.values.get_mut(key)?;
        slot.used = true;
        Some(slot.value.clone())
    }

    /// Keeps a value of `weight` bytes. One that would take more than a quarter of the cache is not kept.
    pub(crate) fn insert(&self, key: K, value: V, weight: usize) {
        if weight > self.limit / 4 {
            return;
        }
        let mut inner = self.inner();
        match inner.values.insert(key, Slot { value, weight, used: false }) {
            Some(old) => inner.bytes -= old.weight,
            None => inner.hand.push_back(key),
        }
        inner.bytes += weight;
        while inner.bytes > self.limit {
            let Some(key) = inner.hand.pop_front() else { break };
            match inner.values.get_mut(&key) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    inner.hand.push_back(key);
                }
                _ => {
                    if let Some(old) = inner.values.remove(&key) {
                        inner.bytes -= old.weight;
                    }
                }
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        inner.values.clear();
        inner.hand.clear();
        inner.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_limit_and_keeps_what_is_used() {
        let cache = Cache::new(1000);
        cache.insert(0, "hot", 100);
        for n in 1..1000 {
            assert_eq!(cache.get(&0), Some("hot"), "after {n}");
            cache.insert(n, "cold", 100);
            assert!(cache.inner().bytes <= 1000);
        }
        assert_eq!(cache.get(&1), None);
        let inner = cache.inner();
        assert_eq!(inner.values.len(), inner.hand.len());
        drop(inner);
        cache.insert(5000, "too big", 900);
        assert_eq!(cache.get(&5000), None);
        cache.clear();
        assert_eq!(cache.get(&0), None);
    }
}

//! The bytes of a file, in pages; those that nobody wrote are zeros and take no memory. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE: usize = 4096;

/// The bytes of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    size: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

/// Parts of a range that lie in one page each: the page, where in it, and which bytes of the range.
fn parts(at: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let place = at + done as u64;
        let (page, within) = (place / PAGE as u64, (place % PAGE as u64) as usize);
        let next = length.min(done + PAGE - within);
        let part = done..next;
        done = next;
        (!part.is_empty()).then_some((page, within, part))
    })
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// At most so many bytes from there on; fewer at its end.
    pub(super) fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        for (page, within, part) in parts(at, bytes.len()) {
            if let Some(page) = self.pages.get(&page) {
                let length = part.len();
                bytes[part].copy_from_slice(&page[within..within + length]);
            }
        }
        bytes
    }

    /// Writes over what is there; it gets longer when that goes beyond its end.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        for (page, within, part) in parts(at, bytes.len()) {
            let bytes = &bytes[part];
            if !self.pages.contains_key(&page) && bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + bytes.len()].copy_from_slice(bytes);
        }
        self.size = self.size.max(at + bytes.len() as u64);
    }

    /// Cuts off what is beyond, or adds zeros.
    pub(super) fn resize(&mut self, size: u64) {
        let (page, within) = (size / PAGE as u64, (size % PAGE as u64) as usize);
        self.pages.split_off(&(page + u64::from(within > 0)));
        if let Some(last) = self.pages.get_mut(&page) {
            Arc::make_mut(last)[within..].fill(0);
        }
        self.size = size;
    }
}

#[cfg(test)]
mod tests {
    use syncline_base::rng::Rng;

    use super::*;

    #[test]
    fn it_holds_what_a_vector_holds() {
        for seed in 0..50 {
            let mut rng = Rng::from_seed(seed);
            let mut pick = |n: usize| usize::try_from(rng.below(n as u64)).unwrap();
            let (mut content, mut model) = (Content::default(), Vec::new());
            for step in 0..60 {
                let at = pick(3 * PAGE);
                if pick(4) == 0 {
                    content.resize(at as u64);
                    model.resize(at, 0);
                } else {
                    let value = if pick(3) == 0 { 0 } else { step };
                    let bytes = vec![value; pick(2 * PAGE)];
                    content.write(at as u64, &bytes);
                    model.resize(model.len().max(at + bytes.len()), 0);
                    model[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                assert_eq!(content.size(), model.len() as u64);
                let (from, length) = (pick(4 * PAGE), pick(2 * PAGE));
                let expected = model.get(from..model.len().min(from + length)).unwrap_or_default();
                assert_eq!(content.read(from as u64, length), expected, "seed {seed}, step {step}");
            }
        }
    }
}

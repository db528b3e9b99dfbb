//! Sets of small numbers, as bits.
//!
//! The first 128 numbers lie in the set itself, so that the sets of a short run are made, copied and compared without
//! allocating; a longer run pays for its length. Not here: what the numbers stand for.

const WORD: u32 = 64;
const LOW: usize = 2;

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    low: [u64; LOW],
    /// The words after `low`; those that are not there are zero.
    high: Vec<u64>,
}

impl Set {
    /// Whether `number` is in the set.
    pub(super) fn has(&self, number: u32) -> bool {
        self.word(at(number)) & bit(number) != 0
    }

    /// Puts `number` in; says whether it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let new = !self.has(number);
        *self.word_mut(at(number)) |= bit(number);
        new
    }

    /// Takes `number` out.
    pub(super) fn remove(&mut self, number: u32) {
        if self.has(number) {
            *self.word_mut(at(number)) &= !bit(number);
        }
    }

    /// Puts in all that `other` has.
    pub(super) fn unite(&mut self, other: &Self) {
        self.low[0] |= other.low[0];
        self.low[1] |= other.low[1];
        if self.high.len() < other.high.len() {
            self.high.resize(other.high.len(), 0);
        }
        for (mine, theirs) in self.high.iter_mut().zip(&other.high) {
            *mine |= theirs;
        }
    }

    /// Takes out all that `other` has.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.low[0] &= !other.low[0];
        self.low[1] &= !other.low[1];
        for (mine, theirs) in self.high.iter_mut().zip(&other.high) {
            *mine &= !theirs;
        }
    }

    /// What both have.
    pub(super) fn both(&self, other: &Self) -> Self {
        let high = self.high.iter().zip(&other.high).map(|(mine, theirs)| mine & theirs).collect();
        Self { low: [self.low[0] & other.low[0], self.low[1] & other.low[1]], high }
    }

    /// The least number of the set that `other` has not.
    pub(super) fn first_outside(&self, other: &Self) -> Option<u32> {
        (0..self.words()).find_map(|word| lowest(word, self.word(word) & !other.word(word)))
    }

    /// The least number of the set that `other` has too.
    pub(super) fn first_common(&self, other: &Self) -> Option<u32> {
        (0..self.words()).find_map(|word| lowest(word, self.word(word) & other.word(word)))
    }

    /// The least number.
    pub(super) fn first(&self) -> Option<u32> {
        (0..self.words()).find_map(|word| lowest(word, self.word(word)))
    }

    /// The numbers, descending.
    pub(super) fn descending(&self) -> impl Iterator<Item = u32> {
        (0..self.words()).rev().flat_map(|word| {
            let mut bits = self.word(word);
            std::iter::from_fn(move || {
                let number = highest(word, bits)?;
                bits &= !bit(number);
                Some(number)
            })
        })
    }

    /// The numbers, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.words()).flat_map(|word| {
            let mut bits = self.word(word);
            std::iter::from_fn(move || {
                let number = lowest(word, bits)?;
                bits &= bits - 1;
                Some(number)
            })
        })
    }

    fn words(&self) -> usize {
        LOW + self.high.len()
    }

    fn word(&self, word: usize) -> u64 {
        if word < LOW { self.low[word] } else { self.high.get(word - LOW).copied().unwrap_or(0) }
    }

    fn word_mut(&mut self, word: usize) -> &mut u64 {
        if word < LOW {
            return &mut self.low[word];
        }
        let word = word - LOW;
        if self.high.len() <= word {
            self.high.resize(word + 1, 0);
        }
        &mut self.high[word]
    }
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        self.first_outside(other).is_none() && other.first_outside(self).is_none()
    }
}

impl Eq for Set {}

impl FromIterator<u32> for Set {
    fn from_iter<T: IntoIterator<Item = u32>>(numbers: T) -> Self {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

fn at(number: u32) -> usize {
    (number / WORD) as usize
}

fn bit(number: u32) -> u64 {
    1 << (number % WORD)
}

fn lowest(word: usize, bits: u64) -> Option<u32> {
    let word = u32::try_from(word).expect("a set of 32-bit numbers has fewer words than numbers");
    (bits != 0).then(|| word * WORD + bits.trailing_zeros())
}

fn highest(word: usize, bits: u64) -> Option<u32> {
    let word = u32::try_from(word).expect("a set of 32-bit numbers has fewer words than numbers");
    (bits != 0).then(|| word * WORD + bits.ilog2())
}

#[cfg(test)]
mod tests;

//! What a patch is made on: one object, or two one after the other.
//!
//! Two, because an edit that moves a boundary makes a piece that has its beginning from one old piece and its end from the
//! next. Owns nothing.
//!
//! Invariant: there is no second base without a first one.

use syncline_base::Hash;

/// No base, one or two, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bases<T = Hash> {
    first: Option<T>,
    second: Option<T>,
}

impl<T> Bases<T> {
    /// No object has more.
    pub const MAX: usize = 2;

    /// Of an object that stands on its own.
    #[must_use]
    pub const fn none() -> Self {
        Self { first: None, second: None }
    }

    /// One base.
    #[must_use]
    pub const fn one(base: T) -> Self {
        Self { first: Some(base), second: None }
    }

    /// Two bases; what the patch is made on is the first one followed by the second.
    #[must_use]
    pub const fn two(first: T, second: T) -> Self {
        Self { first: Some(first), second: Some(second) }
    }

    /// Adds one; given back when there is no place for it.
    ///
    /// # Errors
    /// The base.
    pub fn push(&mut self, base: T) -> Result<(), T> {
        match self {
            Self { first: place @ None, .. } | Self { second: place @ None, .. } => {
                *place = Some(base);
                Ok(())
            }
            _ => Err(base),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + usize::from(self.second.is_some())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The base, when there is exactly one.
    #[must_use]
    pub fn only(&self) -> Option<&T> {
        self.first.as_ref().filter(|_| self.second.is_none())
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.second)
    }

    /// The same with each base made into something else.
    ///
    /// # Errors
    /// The first one of `make`.
    pub fn try_map<U, E>(&self, mut make: impl FnMut(&T) -> Result<U, E>) -> Result<Bases<U>, E> {
        let first = self.first.as_ref().map(&mut make).transpose()?;
        let second = self.second.as_ref().map(&mut make).transpose()?;
        Ok(Bases { first, second })
    }
}

impl<T> Default for Bases<T> {
    fn default() -> Self {
        Self::none()
    }
}

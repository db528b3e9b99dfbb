//! Progress of long work, told to whoever shows it.

/// Hears how far a verb has come. Called often and from several threads: it must be cheap.
pub trait Progress: Send + Sync {
    /// A new stage begins: what it does, how much there is of it (0 when that is not known), and in which unit.
    fn stage(&self, what: &str, total: u64, unit: Unit);

    /// So much more of the current stage is done.
    fn advance(&self, amount: u64);
}

/// What a stage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Rows of a table.
    Rows,
    /// Files.
    Files,
    /// Objects of the store.
    Objects,
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64, _: Unit) {}
    fn advance(&self, _: u64) {}
}

//! Readers of others' formats, which panic on some damaged files: to an import that is a source that cannot be read.
//!
//! Only their own calls are guarded. A panic of ours stays one.

use std::cell::Cell;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use arrow_array::RecordBatch;

use super::{Error, Result};

thread_local! {
    /// Whether this thread is inside of a guarded call, whose panics say nothing.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls a reader. Its error, or its panic, is one of the source with this name.
pub(super) fn guarded<T, E: Display>(name: &str, read: impl FnOnce() -> Result<T, E>) -> Result<T> {
    quiet();
    let before = GUARDED.replace(true);
    // What a panic leaves half done is the reader's, and nobody calls it again.
    let outcome = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(before);
    match outcome {
        Ok(read) => read.map_err(|error| Error::source(name, error)),
        Err(_) => Err(Error::source(name, "is damaged: its bytes contradict each other; get it again")),
    }
}

/// Panics of guarded calls print nothing.
fn quiet() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
}

/// The batches of a reader, which ends at its first error or panic.
pub(super) struct Batches<I> {
    name: String,
    reader: Option<I>,
}

impl<I> Batches<I> {
    pub(super) fn new(name: &str, reader: I) -> Self {
        Self { name: name.to_owned(), reader: Some(reader) }
    }
}

impl<I: Iterator<Item = Result<RecordBatch, E>>, E: Display> Iterator for Batches<I> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let next = guarded(&self.name, || reader.next().transpose()).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.reader = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_errors_are_errors_of_the_source() {
        let fine = guarded("t", || Ok::<_, String>(1));
        assert_eq!(fine.unwrap(), 1);
        let failed = guarded::<(), _>("t", || Err("no".to_owned())).unwrap_err().to_string();
        assert_eq!(failed, "t: no");
        let panicked = guarded::<(), String>("t", || panic!("inside")).unwrap_err();
        assert_eq!(panicked.kind(), syncline_base::Kind::Invalid);
        assert!(panicked.to_string().starts_with("t: is damaged"), "{panicked}");
        assert!(!GUARDED.get());
    }

    #[test]
    fn a_reader_is_not_called_again_when_it_has_failed() {
        let mut calls = 0;
        let reader = std::iter::from_fn(|| {
            calls += 1;
            assert!(calls < 2, "called again");
            Some(Err::<RecordBatch, _>("broken".to_owned()))
        });
        let mut batches = Batches::new("t", reader);
        assert!(matches!(batches.next(), Some(Err(_))));
        assert!(batches.next().is_none());
    }
}

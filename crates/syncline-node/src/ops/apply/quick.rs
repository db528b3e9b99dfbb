//! Changes that are whole rows of plain columns, or keys, from JSON to writes in one pass.
//!
//! Owns nothing. Gives what reading the lines one by one would give, or nothing: then that is done, and says what is wrong.

use std::sync::Arc;

use crate::live::definition::Definition;
use crate::live::rows::quick::{Quick, Writes, lines};
use crate::live::rows::scan::{Raw, Scan};

/// A table that can be written to.
type Find<'a> = &'a mut dyn FnMut(&str) -> Option<Arc<Definition>>;

/// Reads the changes of a transaction. `default` is the table of changes that name none.
pub(super) fn read(text: &[u8], default: Option<&str>, find: Find<'_>) -> Option<Writes> {
    std::str::from_utf8(text).ok()?;
    let mut quick = Quick::with_capacity(text.len());
    lines(text).try_for_each(|line| change(&mut quick, line, default.map(str::as_bytes), find))?;
    quick.finish()
}

fn change<'a>(quick: &mut Quick<'a>, line: &'a [u8], default: Option<&'a [u8]>, find: Find<'_>) -> Option<()> {
    let (mut op, mut named, mut read) = (None, None, false);
    let mut scan = Scan::new(line);
    scan.object(|scan, name| {
        match name {
            b"op" if op.is_none() => op = Some(scan.text()?),
            // It says of what the row before it was.
            b"table" if named.is_none() && !read => named = Some(scan.text()?),
            b"row" | b"key" => {
                let sets = match op? {
                    b"set" => true,
                    b"delete" => false,
                    _ => return None,
                };
                if sets != (name == b"row") {
                    return scan.pass();
                }
                if std::mem::replace(&mut read, true) {
                    return None;
                }
                let table = quick.table(named.or(default)?, &mut *find)?;
                if sets { quick.set(table, scan)? } else { quick.delete(table, scan)? }
            }
            b"op" | b"table" | b"tables" | b"file" => return None,
            b"caught_up" if scan.raw()? != Raw::Bool(false) => return None,
            b"caught_up" => {}
            _ => return scan.pass(),
        }
        Some(())
    })?;
    scan.end()?;
    (read || matches!(op?, b"commit" | b"snapshot" | b"begin")).then_some(())
}

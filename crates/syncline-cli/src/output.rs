//! Showing a report: a page of text for people, or one JSON object for scripts.
//!
//! Owns: nothing; a page is written in one piece, when it is complete.

mod page;
mod words;

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Context as _;
use serde::Serialize;

pub(crate) use page::{Align, CELL, Page, Table, cut};
pub(crate) use words::{changes, cost, short, tree_name};

use crate::fault::Result;

/// Where reports go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON object on standard output instead of text.
    pub json: bool,
    /// Only what was asked for: no word about what was done.
    pub quiet: bool,
}

impl Output {
    /// Shows what was asked for.
    pub(crate) fn answer<R: Serialize>(self, report: &R, show: impl FnOnce(&mut Page)) -> Result<()> {
        let text = if self.json {
            let mut text = serde_json::to_string(report)?;
            text.push('\n');
            text
        } else {
            let mut page = Page::default();
            show(&mut page);
            page.finish()
        };
        print(&text)
    }

    /// Tells what was done; says nothing when told to be quiet.
    pub(crate) fn done<R: Serialize>(self, report: &R, show: impl FnOnce(&mut Page)) -> Result<()> {
        if self.quiet && !self.json {
            return Ok(());
        }
        self.answer(report, show)
    }

    /// Whether somebody watches: progress is for a terminal only.
    pub(crate) fn is_watched(self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no fault.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output").map_err(Into::into)
        }
        _ => Ok(()),
    }
}

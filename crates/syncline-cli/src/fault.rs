//! What went wrong, as people and scripts read it: one block of text, or one JSON object; the exit code is its kind.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;
use syncline_api::status;
use syncline_base::Kind;

/// Why a command failed. The layers below say what was tried, on what, why it failed and what to do.
#[derive(Debug)]
pub(crate) struct Fault {
    /// `None` is a fault of the program itself, or of the terminal.
    kind: Option<Kind>,
    message: String,
}

/// A result of the command line.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// How a command ended that has shown its report: `None` is well, a kind is what the report is about (a merge with
/// conflicts, a store with damage).
pub(crate) type Outcome = Result<Option<Kind>>;

impl Fault {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind: Some(kind), message: message.into() }
    }

    /// A fault of the request: what is wrong with it and what to write instead.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == Some(kind)
    }

    /// Adds what this command can say about a fault of a kind that the layer below cannot know.
    pub(crate) fn advise(mut self, kind: Kind, advice: &str) -> Self {
        if self.kind == Some(kind) {
            self.message = format!("{}\n{advice}", self.message);
        }
        self
    }

    /// Adds what was done before it.
    pub(crate) fn after(mut self, done: &str) -> Self {
        self.message = format!("{}\n{done}", self.message);
        self
    }

    /// Shows the fault and gives the exit code.
    pub(crate) fn show(&self, verb: &str, json: bool) -> ExitCode {
        // The exit code tells it where nobody can read it: a full disk, a reader that has gone.
        let _ = if json {
            writeln!(std::io::stdout().lock(), "{}", self.to_json(verb))
        } else {
            write!(std::io::stderr().lock(), "{}", self.to_text(verb))
        };
        ExitCode::from(exit_code(self.kind))
    }

    fn to_text(&self, verb: &str) -> String {
        let mut lines = self.message.lines();
        let mut text = format!("error: {}\n", printable(lines.next().unwrap_or_default()));
        for line in lines {
            text.push_str(&format!("       {}\n", printable(line)));
        }
        let kind = self.kind.map_or("a fault of this program; please report it", Kind::name);
        let help = if verb.is_empty() { "syncline --help".to_owned() } else { format!("syncline {verb} --help") };
        text.push_str(&format!("       ({kind}, exit code {}; see `{help}`)\n", exit_code(self.kind)));
        text
    }

    fn to_json(&self, verb: &str) -> serde_json::Value {
        let kind = self.kind.map_or("internal", Kind::name);
        let exit = exit_code(self.kind);
        json!({ "error": { "kind": kind, "verb": verb, "message": self.message, "exit": exit } })
    }
}

/// Text from outside (a peer's message, a file's name) must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The exit code of a kind of fault; 1 when it has none.
pub(crate) fn exit_code(kind: Option<Kind>) -> u8 {
    kind.map_or(1, |kind| status::row(kind).exit)
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<syncline_node::Error> for Fault {
    fn from(error: syncline_node::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<syncline_api::Error> for Fault {
    fn from(error: syncline_api::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<syncline_server::Error> for Fault {
    fn from(error: syncline_server::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        Self { kind: io.map(Kind::of_io), message: format!("{error:#}") }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self { kind: None, message: format!("reading or writing a report: {error}") }
    }
}

#[cfg(test)]
mod tests;

//! Verbs: the whole list of what the product can do, one function each, called by every face.
//!
//! Each verb takes a replica and a request and gives a report; requests and reports are plain data, so that a face can
//! show them and a node can run them for somebody else. A verb either does all of what it says or nothing.
//!
//! Not here: how a verb is asked for (command line, gRPC) and how its report is shown.

pub mod alter;
pub mod apply;
pub mod branch;
pub mod checkout;
pub mod commit;
pub mod conflicts;
pub mod diff;
pub mod dispatch;
pub mod export;
pub mod fetch;
pub mod gc;
pub mod get;
pub mod history;
pub mod import;
pub mod init;
pub mod key;
pub mod live;
pub mod live_conflicts;
pub mod live_repair;
pub mod log;
pub mod merge;
pub mod put;
pub mod reach;
pub mod repair;
pub mod rollback;
pub mod root;
pub mod scope;
pub mod show;
pub mod status;
pub mod strict;
pub mod table;
pub mod transfer;
pub mod verify;
pub mod watch;

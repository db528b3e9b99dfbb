//! Nodes on loopback, talked to over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop with a trace")]

mod calls;
mod members;
mod pushers;
mod safety;
mod strangers;
mod support;
mod transfers;

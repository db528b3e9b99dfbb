//! Sessions against real stores in memory, message by message on one thread, and over a transport.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop with a trace")]

mod history;
mod hostile;
mod tables;
mod tags;
mod world;

//! See `syncline_sync::fuzz::live_run`.
#![no_main]

syncline_fuzz::target!(syncline_sync::fuzz::live_run);

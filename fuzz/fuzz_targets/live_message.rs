//! See `syncline_sync::fuzz::live_message`.
#![no_main]

syncline_fuzz::target!(syncline_sync::fuzz::live_message);

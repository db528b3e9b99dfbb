//! See `syncline_sync::fuzz::live_record`.
#![no_main]

syncline_fuzz::target!(syncline_sync::fuzz::live_record);

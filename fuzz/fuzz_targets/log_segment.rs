//! See `syncline_sync::fuzz::log_segment`.
#![no_main]

syncline_fuzz::target!(syncline_sync::fuzz::log_segment);

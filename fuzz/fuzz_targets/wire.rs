//! See `syncline_sync::fuzz::wire`.
#![no_main]

syncline_fuzz::target!(syncline_sync::fuzz::wire);

//! See `syncline_sync::fuzz::squeeze`.
#![no_main]

syncline_fuzz::target!(syncline_sync::fuzz::squeeze);

//! See `syncline_store::fuzz::frame`.
#![no_main]

syncline_fuzz::target!(syncline_store::fuzz::frame);

//! See `syncline_store::fuzz::pack`.
#![no_main]

syncline_fuzz::target!(syncline_store::fuzz::pack);

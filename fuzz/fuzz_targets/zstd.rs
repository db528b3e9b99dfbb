//! See `syncline_store::fuzz::zstd`.
#![no_main]

syncline_fuzz::target!(syncline_store::fuzz::zstd);

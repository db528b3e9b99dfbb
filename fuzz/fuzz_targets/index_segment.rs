//! See `syncline_store::fuzz::index_segment`.
#![no_main]

syncline_fuzz::target!(syncline_store::fuzz::index_segment);

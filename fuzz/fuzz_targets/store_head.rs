//! See `syncline_store::fuzz::store_head`.
#![no_main]

syncline_fuzz::target!(syncline_store::fuzz::store_head);

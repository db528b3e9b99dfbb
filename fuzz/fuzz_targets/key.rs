//! See `syncline_tree::fuzz::key`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::key);

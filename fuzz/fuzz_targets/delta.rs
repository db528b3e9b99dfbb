//! See `syncline_tree::fuzz::delta`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::delta);

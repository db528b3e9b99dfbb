//! See `syncline_tree::fuzz::records`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::records);

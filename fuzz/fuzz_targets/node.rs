//! See `syncline_tree::fuzz::node`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::node);

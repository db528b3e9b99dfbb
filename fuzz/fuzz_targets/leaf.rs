//! See `syncline_tree::fuzz::leaf`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::leaf);

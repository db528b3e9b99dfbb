//! See `syncline_tree::fuzz::leaf_stored`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::leaf_stored);

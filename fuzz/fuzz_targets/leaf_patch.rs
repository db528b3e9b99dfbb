//! See `syncline_tree::fuzz::leaf_patch`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::leaf_patch);

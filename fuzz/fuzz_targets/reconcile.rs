//! See `syncline_tree::fuzz::reconcile`.
#![no_main]

syncline_fuzz::target!(syncline_tree::fuzz::reconcile);

//! What all fuzz targets share: the macro that makes one, and a heap with an end.
//!
//! A decoder that lets its input size an allocation runs into that end and is reported, with the input. Not here: what
//! is checked (`fuzz` in each crate), how the targets are run (`cargo xtask ci fuzz`).

use std::alloc::System;

use cap::Cap;
#[doc(hidden)]
pub use libfuzzer_sys::fuzz_target;

/// All the memory that a target gets. What it decodes is a few kilobytes long.
const HEAP: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, HEAP);

/// Makes a target of a function that takes bytes and panics when something is wrong.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        $crate::fuzz_target!(|data: &[u8]| $check(data));
    };
}

//! The fuzz target of `loteria_fuzz::tls`. Its allocator measures the memory in use.

#![no_main]

use loteria_fuzz::Memory;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MEMORY: Memory = Memory { restart, peak };

fn restart() -> usize {
    ALLOCATOR.reset_peak_usage();
    ALLOCATOR.current_usage()
}

fn peak() -> usize {
    ALLOCATOR.peak_usage()
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| loteria_fuzz::tls::check(input, &MEMORY));

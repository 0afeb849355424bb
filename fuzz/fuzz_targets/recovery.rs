//! The fuzz target of `loteria_fuzz::recovery`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| loteria_fuzz::recovery::check(input));

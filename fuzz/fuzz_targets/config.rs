//! The fuzz target of `loteria_fuzz::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| loteria_fuzz::config::check(input));

//! The fuzz target of `loteria_fuzz::agency_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| loteria_fuzz::agency_file::check(input));

//! The readers of strangers' bytes against slow and obvious ones: one `check` a target, which panics where they differ.
//!
//! Used by the fuzz targets (`make fuzz`), and by the project's own tests, which put the committed corpus through the
//! same checks without any fuzzer (`tests/fuzz_corpus.rs` includes this file).

#![allow(clippy::unwrap_used, reason = "a check fails by it")]

pub mod agency_file;
pub mod config;
pub mod decoder;
pub mod recovery;

mod oracle;
mod scratch;

/// How to ask for the memory that is in use.
#[derive(Debug)]
pub struct Memory {
    /// Begins anew to look for the most; what is in use now, in bytes.
    pub restart: fn() -> usize,
    /// The most that was in use since.
    pub peak: fn() -> usize,
}

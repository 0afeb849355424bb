//! Compares the parsers of foreign bytes with slow, simple parsers. Each fuzz target has one `check`, which panics if
//! the two results differ.
//!
//! Used by the fuzz targets (`make fuzz`), and by the project's own tests, which run the committed corpus through the
//! same checks without a fuzzer (`tests/fuzz_corpus.rs` includes this file).

#![allow(clippy::unwrap_used, reason = "a panic is how a check fails")]

pub mod agency_file;
pub mod config;
pub mod decoder;
pub mod recovery;
pub mod tls;

mod oracle;
mod scratch;

/// Measures the memory in use, in bytes.
#[derive(Debug)]
pub struct Memory {
    /// Restarts the measurement of the peak. Returns the memory in use now.
    pub restart: fn() -> usize,
    /// Returns the peak since the last restart.
    pub peak: fn() -> usize,
}

//! The parts of `tests/sweep.rs`, from the bottom up.

pub mod judge;
pub mod play;
pub mod process;
pub mod scene;
pub mod table;
pub mod tracer;

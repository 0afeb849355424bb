//! What is judged: the exercises, and what breaks systems that pass them.

pub mod exercises;
pub mod traps;

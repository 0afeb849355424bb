//! The figures of the benchmark.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `memory`, `processor`, `table` | the memory of processes; their processor time; medians, ratios and their table |

mod memory;
mod processor;
mod table;

pub use self::memory::{Memory, children_of};
pub use self::processor::processor_time;
pub use self::table::{median, table};

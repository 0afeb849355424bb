//! The figures of the benchmark.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `memory`, `table` | the memory of processes; medians, ratios and their table |

mod memory;
mod table;

pub use self::memory::{Memory, children_of};
pub use self::table::{median, table};

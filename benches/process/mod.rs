//! Processes: starting one that ends with the benchmark, stopping it, and its memory and processor time.
//!
//! Knows nothing about bets, rounds and tables.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `family`, `memory`, `processor`, `limits` | children, memory and processor time of processes; the limit of descriptors |
//! | `tied` | the command of a process that the kernel kills when the benchmark ends |
//! | `running` | a server as a process in a directory of its own |

mod family;
mod limits;
mod memory;
mod processor;
mod running;
mod tied;

pub use self::family::children_of;
pub use self::limits::raise_descriptors;
pub use self::memory::Memory;
pub use self::processor::{OneProcessor, processor_time};
pub use self::running::{Ready, Running, free_port};
pub use self::tied::{Role, role_of_this_process, tied};

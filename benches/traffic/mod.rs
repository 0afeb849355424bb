//! Servers and their clients: starts either server as a process in a directory of its own, and drives both in the same
//! way.
//!
//! Used by [`super`]. Knows no runs and no tables.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `side` | the two servers that are compared |
//! | `process`, `clients` | a server as a process; the conversations of the clients |
//! | `threads` | running the clients at the same time |

mod clients;
mod process;
mod side;
mod threads;

pub use self::clients::{Agency, Times, connect, echo, exchange};
pub use self::process::{Running, run_as_server};
pub use self::side::Side;
pub use self::threads::all_at_once;

//! The clients: they drive the real server and the floors in the same way.
//!
//! They encode the messages themselves, so they judge the server without its own code. Knows no rounds and no tables.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `wire` | the bytes of the messages, and of rows |
//! | `files` | the agencies' files, and repetitions of them |
//! | `agency`, `echo`, `idle`, `crowd` | the minimal client; connections with one line or one message 6, without a byte; one draw with thousands of agencies |
//! | `threads`, `programs` | minimal clients at the same time; processes of the project's client |

mod agency;
mod crowd;
mod echo;
mod files;
mod idle;
mod programs;
mod threads;
pub mod wire;

pub use self::agency::{Agency, Times, connect, exchange};
pub use self::crowd::Crowd;
pub use self::echo::{Line, echo, tally};
pub use self::files::{AGENCIES, Files};
pub use self::idle::Idle;
pub use self::programs::{Programs, Window};
pub use self::threads::all_at_once;

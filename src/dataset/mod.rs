//! Synthetic agency files like those of the course: people and their numbers, drawn from a seed.
//!
//! Owns the names, their frequencies, and the arguments of the `dataset` program. Used only by `bin/dataset`. Knows
//! neither the wire, nor the storage, nor the settings: the client reads these files like any other. Shape, sizes and
//! winners are those of the course's files.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `error`, `names`, `dice`, `stop` | errors; names and their frequencies; random numbers; the request to stop |
//! | `people` | the bets of one agency |
//! | `agency_file` | the rows of one file, and writing it |
//! | `arguments` | the command line |
//! | `program` | the program |

mod agency_file;
mod arguments;
mod dice;
mod error;
mod names;
mod people;
mod program;
mod stop;

pub use arguments::Arguments;
pub use error::Error;
pub use program::run;
pub use stop::Stop;

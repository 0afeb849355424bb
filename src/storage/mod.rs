//! The bets on disk: every batch is appended whole or not at all, and read back up to the last committed byte.
//!
//! Owns the files of a lottery, which lie together in one directory ([`Paths`]), and the order in which they are written.
//! Used by the session (bets, ends, tallies), by the draw, and by the parent at start ([`start`]). Knows neither sockets
//! nor messages.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `error`, `paths`, `reader` | errors; names of the files; reading at an offset |
//! | `identity` | which file a name refers to |
//! | `record`, `ends`, `results`, `tallies` | the formats of `bets.lock`, `ends` and `draw`; counting rows |
//! | `files` | one process's open files |
//! | `commit`, `queries` | changes under the data lock; reading committed rows |
//! | `store` | the verbs that sessions and the draw use; when data is made durable |
//! | [`start`] | locking other servers out, and adopting the files that are there |

mod commit;
mod ends;
mod error;
mod files;
mod identity;
mod paths;
mod queries;
mod reader;
mod record;
mod results;
pub mod start;
mod store;
mod tallies;

pub use error::{Error, Result};
pub use paths::Paths;
pub use results::Terms;
pub use store::Store;
pub use tallies::Tallies;

//! The bets on disk: every group of bets is stored whole or not at all, and its agency's tally proves it.
//!
//! Owns the files of a lottery, which lie together in one directory ([`Paths`]), and the order in which they are written.
//! Used by the session (bets, ends, tallies), by the draw, and by the parent at start ([`start`]). Knows neither sockets
//! nor messages. `docs/storage.md` describes the design.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `slots` | which slot belongs to which agency |
//! | `error` | why something was not stored or read |
//! | `paths` | the names of the files |
//! | `reader` | reading at an offset |
//! | `identity` | which file a name refers to |
//! | `boot` | the current boot |
//! | `progress` | the progress of a scan on a terminal |
//! | `record` | records with a checksum |
//! | `tallies` | counting rows |
//! | `books` | the format of `books` |
//! | `draw_file` | the format of `draw`, but of the result |
//! | `results` | the format of the result |
//! | `files` | one process's open files; making, replacing and removing files |
//! | `commit` | all changes to `bets.csv` and to open slots, under the data lock |
//! | `writeback` | the early write of `bets.csv` to the disk |
//! | `store` | the verbs of a session, and when data is made durable |
//! | `holding` | the steps of the draw |
//! | `older` | the files of an older version |
//! | [`lifelock`] | one server at a time for each `bets.csv` |
//! | `adoption` | what a start decides about the files that it finds |
//! | [`new_draw`] | setting a lottery aside |
//! | [`start`] | adopting the files that are there |
//! | `survey` | a repair: the rows of a damaged file |
//! | `plan` | a repair: its changes, and how they are made |
//! | `evidence` | a repair: the records that damaged files still have |
//! | `redraw` | a repair: the result of a held draw |
//! | `conversion` | a repair: the files of an older version |
//! | [`repair`] | a repair: what is kept |

mod adoption;
mod books;
mod boot;
mod commit;
mod conversion;
mod draw_file;
mod error;
mod evidence;
mod files;
mod holding;
mod identity;
pub mod lifelock;
pub mod new_draw;
mod older;
mod paths;
mod plan;
mod progress;
mod reader;
mod record;
mod redraw;
pub mod repair;
mod results;
mod slots;
pub mod start;
mod store;
mod survey;
mod tallies;
mod writeback;

pub use commit::{LARGEST_GROUP, Origin};
pub use error::{Defect, Error, Result};
pub use files::Location;
pub use holding::hold;
pub use paths::Paths;
pub use results::Terms;
pub use slots::{Slot, Slots};
pub use store::{Store, Stored};

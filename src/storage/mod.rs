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
//! | `error` | why something was not stored or read |
//! | `paths`, `reader`, `identity`, `boot`, `slots`, `progress` | names of the files; reading at an offset; which file a name refers to; the current boot; which slot is whose; the progress of a scan on a terminal |
//! | `record`, `tallies` | records with a checksum; counting rows |
//! | `books`, `draw_file` | the formats of `books` and of the ends in `draw` |
//! | `results`, `files` | the format of the result in `draw`; one process's open files |
//! | `commit`, `adoption`, `older`, `survey` | changes under the data lock; what a start decides; files of an older version; the rows of a damaged file |
//! | `store`, [`lifelock`] | the verbs of a session, and when data is made durable; locking other servers out |
//! | `holding`, [`new_draw`], [`start`] | the steps of the draw; setting a lottery aside; adopting the files that are there |
//! | `plan`, `evidence` | the changes of a repair; the records that damaged files still have |
//! | `redraw`, `conversion` | the repair of a held draw; the conversion of files of an older version |
//! | [`repair`] | what a repair keeps |

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

pub use error::{Defect, Error, Result};
pub use files::Location;
pub use holding::hold;
pub use paths::Paths;
pub use results::Terms;
pub use slots::{Slot, Slots};
pub use store::{Store, Stored};

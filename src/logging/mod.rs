//! The log: one line per event, `YYYY-MM-DD HH:MM:SS LEVEL     action: X | result: Y | key: value | …`.
//!
//! Owns the form of a line, the levels, and the two targets, under the interface of the `log` crate. Every module logs
//! through [`event!`](crate::event). A write(2) has whole lines, at most [`LINE_MAX`] bytes, so lines of several
//! processes never mix. Knows nothing of the lottery.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `level`, `escape`, `stdout`, `zone` | the levels; escaped values; standard output without blocking; whether TZ is understood |
//! | `lines`, `event`, `stderr` | the form of a line; the macro; errors that the log cannot report |
//! | `sink`, `syslog` | lines to standard output: queue and lost lines; lines to a daemon |
//! | `outputs` | the open targets |
//! | `logger` | the logger of the process |

mod escape;
// Before `logger`, which uses the macro by its textual scope: a folder's module does not import from its own folder.
#[macro_use]
mod event;
mod level;
mod lines;
mod logger;
mod outputs;
mod sink;
mod stderr;
mod stdout;
mod syslog;
mod zone;

pub use escape::{shortened, value};
pub use level::Level;
pub use lines::LINE_MAX;
pub use logger::{
    add_lost, around_lines, descriptor, finish, flush, forked, is_logged, is_queued, queue_instead_of_waiting, start,
    take_lost, together,
};
pub use outputs::Targets;
pub use stderr::complain;

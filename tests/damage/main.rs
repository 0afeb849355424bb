//! Files that are damaged, lost, replaced or misplaced while no server runs, and the commands that go on from there.
//!
//! | module | damages |
//! |---|---|
//! | `rows` | `bets.csv` |
//! | `units` | the ends in `draw` |
//! | `held` | the held draw in `draw` |
//! | `memory` | `books` |
//! | `places` | nothing: links, second servers, `--new-draw` |
//! | `repair` | nothing more: `--repair` in use, of sound files, and a second time |
//! | `kills` | nothing more: a start, `--repair` and `--new-draw` that are killed at each step |
//! | `conversion` | nothing: files of the older version, which `old_files` writes |
//! | `layout` | nothing: the bytes that a server writes |
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../support/mod.rs"]
mod support;

mod conversion;
mod held;
mod kills;
mod layout;
mod memory;
mod old_files;
mod places;
mod repair;
mod rows;
mod scene;
mod units;

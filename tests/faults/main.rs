//! Faults from outside: acknowledged bets are stored, each row is whole, other clients are served, and the server
//! survives, whatever the system returns and whichever process dies.
//!
//! strace injects the faults that a test cannot cause by real means. If it is missing or not permitted, each test that
//! needs it reports itself as skipped. Damage to the files from outside (tails, replaced files, locks of other
//! processes) is tested in `tests/storage`; faults that need root are in `tests/root`.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../support/mod.rs"]
mod support;

use support::strace;

mod accept;
mod children;
mod clock;
mod interruptions;
mod kills;
mod log;
mod scene;
mod starts;
mod syncs;
mod writes;

//! The bets on disk from outside: the bytes of `bets.csv`, which of them count, and which survive a fault.
//!
//! Python's csv module judges the bytes. Without Python, those tests report themselves as skipped and check fixed bytes
//! only.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod bytes;
mod foreign;
mod groups;
mod lock;
mod origins;
mod recovery;
mod repair;
mod restarts;
mod scene;
mod tampering;
mod terminal;

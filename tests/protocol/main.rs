//! The bytes on the wire from outside: the messages of every exercise, the code of each refusal, and that it arrives.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../../fuzz/src/oracle/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the fuzz targets use all of it")]
mod oracle;
#[path = "../support/mod.rs"]
mod support;

mod closing;
mod codes;
mod echo;
mod framing;
mod log;
mod refusals;
mod scene;
mod single_bets;
mod untyped_batches;

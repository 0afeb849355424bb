//! The client as a whole, judged by its bytes, its log and its exit code, against a server that the test plays.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod draw;
mod echo;
mod file;
mod old_servers;
mod outages;
mod resume;
mod scene;
mod settle;
mod single_bet;
mod start;
mod stop;
mod window;
mod winners;

//! What the cases of `make test-docker` are made of.

mod engine;
mod follower;
mod grammar;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/lines.rs"]
mod lines;
mod scratch;
mod system;

pub use engine::{PROJECT, eventually, obstacle};
pub use grammar::{Event, read};
pub use scratch::Scratch;
pub use system::{ClientFile, STORE, ServerFile, Setup, System};

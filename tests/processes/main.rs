//! The server's processes from outside: one child per connection, never too many, none left over, and an orderly end at
//! any moment.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../support/mod.rs"]
mod support;

mod agencies;
mod deaths;
mod forgeries;
mod leaks;
mod limits;
mod many;
mod scene;
mod standstill;
mod stop;

//! Faults that need root, made by real means: full and failing disks, power cuts, lost networks, process limits,
//! immutable files.
//!
//! Each test has mounts, and if needed a network, of its own thread (`own.rs`), so that nothing of them remains after
//! the test. A test that the machine cannot run reports itself as skipped. Faults that need no root are in
//! `tests/faults`.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod attributes;
mod full;
mod network;
mod own;
mod power;
mod processes;
mod scene;
mod writeback;

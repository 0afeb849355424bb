//! Faults that take root, made by real means: disks that are full or fail, power cuts, networks that go away, processes
//! that the system refuses, files that may not be changed. Each test has mounts, and where it needs one a network, of its
//! own thread alone (`own.rs`), so that nothing of them is left whatever becomes of the test. What a machine cannot do is
//! said by name. Faults that need no root are in `tests/faults.rs`.
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

//! Single faults, one by one: every system call that server and client make in a small lottery fails in turn with each
//! possible error, is cut short, or is the last one of its process. After each of these runs, the promises must hold.
//! `make sweep`.
//!
//! Each run is a lottery of two agencies with real programs. A `Scene` sets its start, and a `Role` the process that is
//! hit. Runs without a fault show which calls exist. The sweep continues after the last known call of each kind until a
//! run is not hit any more. A kill *after* a call is the same as a kill before the next one: nothing visible happens
//! between them.
//!
//! The faults come from a tracer of this test. strace counts the calls of each process separately, so that every new
//! child would be hit again; and it can neither cut a call short nor distinguish a session from a draw.
//!
//! A run that fails is reported with the arguments that repeat only this run: `make sweep SWEEP_ARGS='--scene …'`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../support/mod.rs"]
mod support;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    x86_64::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    support::skipped("the sweep", "the tracer knows only the registers of x86_64");
}

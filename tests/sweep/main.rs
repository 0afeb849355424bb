//! Single faults, one by one: of every system call that server and client make in a small lottery, each fails in turn
//! (with each error that it can have), is cut short, or is the last that its process makes; and after each of these runs
//! the promises hold. `make sweep`.
//!
//! Owns the list of faults, the workers and the summary. Each run is a lottery of two agencies with real programs; what
//! it begins with is a [`Scene`], who is traced and hit is a [`Role`]. A run without a fault shows which calls there are;
//! behind the last of each kind it goes on until a run passes untouched. Being killed *behind* a call is being killed
//! ahead of the next one: between the two nothing happens that anybody else could see.
//!
//! The faults come from a tracer of our own, as strace counts the calls of each process for itself, so that each new
//! child would be hit again, for ever; and it can neither cut a call short nor tell a session from a draw.
//!
//! A run that fails is named by the arguments that repeat it alone: `make sweep SWEEP_ARGS='--scene …'`.

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
    support::skipped("the sweep", "the tracer knows the registers of x86_64 alone");
}

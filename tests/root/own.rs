//! What a test has to itself: mounts and a network of its thread alone, and of the processes that it starts. The kernel
//! takes them away with the last of these.

use std::ffi::OsStr;
use std::fmt::Debug;

use nix::sched::{CloneFlags, unshare};

use crate::support::disk::{Disk, Medium, Outcome};
use crate::support::{run_program, skipped, this_test};

/// Mounts from here on are this thread's; false if that cannot be had, which has been said.
pub fn mounts() -> bool {
    apart(CloneFlags::CLONE_NEWNS) && can("mount", &["--make-rprivate", "/"])
}

/// This thread's network is one of its own, with nothing in it but the loopback; false as above.
pub fn network() -> bool {
    apart(CloneFlags::CLONE_NEWNET) && can("ip", &["link", "set", "lo", "up"])
}

/// A disk in mounts of this thread's own; `None` if this machine makes none, which has been reported.
pub fn disk(medium: Medium) -> Option<Disk> {
    if !mounts() {
        return None;
    }
    Disk::new(medium).inspect_err(|why| skipped(&this_test(), why)).ok()
}

fn apart(what: CloneFlags) -> bool {
    is_possible(unshare(what).map_err(|e| format!("unshare {what:?}: {e}")))
}

/// Runs a program of the system; false if this machine cannot do what it asks for, which has been said.
pub fn can(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) -> bool {
    is_possible(run_program(program, arguments))
}

/// Whether it has worked; if not, this machine cannot do it, and that is said.
pub fn is_possible(outcome: Outcome) -> bool {
    outcome.inspect_err(|why| skipped(&this_test(), why)).is_ok()
}

/// Runs a program that has worked here before.
#[track_caller]
pub fn run(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) {
    run_program(program, arguments).unwrap();
}

//! Mounts and networks that belong only to the thread of a test and to the processes that it starts. The kernel removes
//! them with the last of these.

use std::ffi::OsStr;
use std::fmt::Debug;

use nix::sched::{CloneFlags, unshare};

use crate::support::disk::{Disk, Medium, Outcome};
use crate::support::{run_program, skipped, this_test};

/// From now on, mounts are visible only to this thread; false if the machine cannot do that, which has been reported.
pub fn mounts() -> bool {
    apart(CloneFlags::CLONE_NEWNS) && can("mount", &["--make-rprivate", "/"])
}

/// Gives this thread a network of its own with only a loopback device; false as above.
pub fn network() -> bool {
    apart(CloneFlags::CLONE_NEWNET) && can("ip", &["link", "set", "lo", "up"])
}

/// A disk that is mounted only for this thread; `None` if the machine cannot do that, which has been reported.
pub fn disk(medium: Medium) -> Option<Disk> {
    if !mounts() {
        return None;
    }
    Disk::new(medium).inspect_err(|why| skipped(&this_test(), why)).ok()
}

fn apart(what: CloneFlags) -> bool {
    is_possible(unshare(what).map_err(|e| format!("unshare {what:?}: {e}")))
}

/// Runs a program of the system; false if it fails, which has been reported.
pub fn can(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) -> bool {
    is_possible(run_program(program, arguments))
}

/// Whether `outcome` is a success; otherwise reports that this machine cannot run the test.
pub fn is_possible(outcome: Outcome) -> bool {
    outcome.inspect_err(|why| skipped(&this_test(), why)).is_ok()
}

/// Runs a program that must succeed.
#[track_caller]
pub fn run(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) {
    run_program(program, arguments).unwrap();
}

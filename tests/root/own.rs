//! What a test has to itself: mounts and a network of its thread alone, and of the processes that it starts. The kernel
//! takes them away with the last of these.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::support::skipped;

/// Mounts from here on are this thread's; false if that cannot be had, which has been said.
pub fn mounts() -> bool {
    apart(CloneFlags::CLONE_NEWNS) && can("mount", &["--make-rprivate", "/"])
}

/// This thread's network is one of its own, with nothing in it but the loopback; false as above.
pub fn network() -> bool {
    apart(CloneFlags::CLONE_NEWNET) && can("ip", &["link", "set", "lo", "up"])
}

fn apart(what: CloneFlags) -> bool {
    unshare(what).inspect_err(|e| skipped(&this_test(), &format!("unshare {what:?}: {e}"))).is_ok()
}

/// Runs a program of the system; false if this machine cannot do what it asks for, which has been said.
pub fn can(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) -> bool {
    let output = Command::new(program).args(arguments).output();
    let worked = output.as_ref().is_ok_and(|output| output.status.success());
    if !worked {
        skipped(&this_test(), &format!("{program} {arguments:?}: {output:?}"));
    }
    worked
}

/// Runs a program that has worked here before.
#[track_caller]
pub fn run(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

pub fn this_test() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

//! Orphans: no child lives longer than its parent.

use ipc::process::{self, Exit, NOT_SET_UP, Pid};
use ipc::signals::Signal;
use nix::sys::signal;
use nix::sys::wait::{self, WaitPidFlag, WaitStatus};
use nix::unistd;

use crate::support::{Empty, One, Reaper, expect, pair, receive_pid, send, sleep_forever, spawn, wait_until_ended};

pub fn child_dies_with_its_parent() {
    orphan_dies_after(|_| ());
}

pub fn stopped_child_dies_with_its_parent() {
    orphan_dies_after(|child| {
        signal::kill(child, Signal::SIGSTOP).unwrap();
        let stopped = wait::waitpid(child, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(child, Signal::SIGSTOP));
    });
}

/// A child spawns a child of its own, applies `action` to it, and is killed.
fn orphan_dies_after(action: fn(Pid)) {
    let reaper = Reaper::new();
    let (ours, theirs) = pair();
    let parent = spawn(One(theirs), &[], move |One(link), _| {
        let (down, up) = pair();
        let child = spawn(One(up), &[], |One(link), _| {
            send(&link, "started");
            sleep_forever()
        });
        expect(&down, "started");
        action(child);
        send(&link, &child.to_string());
        sleep_forever()
    });
    let child = receive_pid(&ours);
    process::kill(parent);
    let killed = Exit::Killed(Signal::SIGKILL);
    assert_eq!(reaper.take(2), [(parent, killed), (child, killed)].into());
}

/// The parent stops its child as early as it can, and dies. Often the child has not run at all by then, so it has not
/// asked for its death signal. The test repeats until a child took this path. No child may live on by another one.
pub fn child_that_starts_after_its_parents_death_runs_nothing() {
    const TRIES: usize = 2000;
    let reaper = Reaper::new();
    for _ in 0..TRIES {
        let (ours, theirs) = pair();
        let parent = spawn(One(theirs), &[], |One(link), _| {
            let child = spawn(Empty, &[], |Empty, _| sleep_forever());
            signal::kill(child, Signal::SIGSTOP).unwrap();
            send(&link, &child.to_string());
            process::kill(unistd::getpid());
            sleep_forever()
        });
        let child = receive_pid(&ours);
        wait_until_ended(parent);
        signal::kill(child, Signal::SIGCONT).unwrap();
        let ended = reaper.take(2);
        assert_eq!(ended[&parent], Exit::Killed(Signal::SIGKILL));
        match ended[&child] {
            Exit::Code(code) if code == i32::from(NOT_SET_UP) => return,
            exit => assert_eq!(exit, Exit::Killed(Signal::SIGKILL)),
        }
    }
    panic!("in {TRIES} tries, each child asked for its death signal before its parent died");
}

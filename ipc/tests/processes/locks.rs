//! Locks of files: who excludes whom, and for how long.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use ipc::holders;
use ipc::link::Incoming;
use ipc::lock::{self, Attempt};
use ipc::process::{self, Exit, Pid};
use ipc::signals::Signal;
use nix::fcntl::OFlag;
use nix::sys::signal;
use nix::sys::wait::{self, Id, WaitPidFlag};
use nix::unistd;

use crate::support::{
    Empty, One, PATIENCE, Reaper, Scratch, TextLink, Two, expect, is_ready, pair, receive, send, sleep_forever, spawn,
};

pub fn inherited_descriptor_excludes_no_sibling() {
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let inherited = File::create(&scratch.0).unwrap();
    let (ours, theirs) = pair();
    let holder = spawn(Two(theirs, inherited.try_clone().unwrap()), &[], |Two(link, file), _| {
        assert_eq!(lock::try_exclusive(&file).unwrap(), Attempt::Locked);
        send(&link, "locked");
        sleep_forever()
    });
    expect(&ours, "locked");
    let sibling =
        spawn(One(inherited), &[], |One(file), _| u8::from(lock::try_exclusive(&file).unwrap() == Attempt::Locked));
    assert_eq!(reaper.next(), (sibling, Exit::Code(1)), "flock(2) has changed: code and docs depend on this trap");
    reaper.kill(holder);
}

pub fn file_opened_after_the_fork_excludes_siblings_and_parent() {
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let (holder, _ours) = spawn_holder(&scratch.0);
    let path = scratch.0.clone();
    let sibling = spawn(Empty, &[], move |Empty, _| {
        lock::exclusive(&File::open(path).unwrap(), Duration::ZERO).unwrap().is_some().into()
    });
    assert_eq!(reaper.next(), (sibling, Exit::Code(0)));
    let fresh = File::open(&scratch.0).unwrap();
    assert_eq!(lock::try_exclusive(&fresh).unwrap(), Attempt::Busy);
    reaper.kill(holder);
}

/// A server relies on this: an old child must never write while a new server runs.
pub fn lock_lasts_until_the_last_heir_of_its_descriptor_ends() {
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let ours = File::create(&scratch.0).unwrap();
    let fresh = File::open(&scratch.0).unwrap();
    assert_eq!(lock::try_exclusive(&ours).unwrap(), Attempt::Locked);
    let heir = spawn(One(ours), &[], |_, _| sleep_forever());
    assert_eq!(lock::try_exclusive(&fresh).unwrap(), Attempt::Busy);
    reaper.kill(heir);
    assert_eq!(lock::try_exclusive(&fresh).unwrap(), Attempt::Locked);
}

pub fn lock_is_free_when_its_holder_dies() {
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let (holder, _ours) = spawn_holder(&scratch.0);
    let fresh = File::open(&scratch.0).unwrap();
    assert!(lock::exclusive(&fresh, Duration::ZERO).unwrap().is_none());
    process::kill(holder);
    assert!(lock::exclusive(&fresh, PATIENCE).unwrap().is_some());
    assert_eq!(reaper.next(), (holder, Exit::Killed(Signal::SIGKILL)));
}

pub fn wait_is_bounded_even_if_signals_keep_coming() {
    const LOCK_PATIENCE: Duration = Duration::from_millis(60);
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let (holder, lease) = spawn_holder(&scratch.0);
    let (ours, theirs) = pair();
    let path = scratch.0.clone();
    let waiter = spawn(One(theirs), &[Signal::SIGUSR1], move |One(link), signals| {
        let fresh = File::open(path).unwrap();
        expect(&link, "signals start");
        let mut interruptions = 0;
        while interruptions < 20 {
            let begin = Instant::now();
            assert!(lock::exclusive(&fresh, LOCK_PATIENCE).unwrap().is_none());
            assert!((LOCK_PATIENCE..PATIENCE).contains(&begin.elapsed()));
            interruptions += signals.drain();
        }
        send(&link, "still waiting");
        assert!(lock::exclusive(&fresh, PATIENCE).unwrap().is_some());
        send(&link, "locked");
        sleep_forever()
    });
    let (stopped, stop) = unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let sender = spawn(One(stopped), &[], move |One(stopped), _| {
        // With a shorter pause, the waiter would only handle signals.
        while !is_ready(&stopped, Some(Instant::now() + Duration::from_millis(1))) {
            signal::kill(waiter, Signal::SIGUSR1).unwrap();
        }
        0
    });
    send(&ours, "signals start");
    expect(&ours, "still waiting");
    drop(lease);
    expect(&ours, "locked");
    drop(stop);
    assert_eq!(reaper.take(2), [(holder, Exit::Code(0)), (sender, Exit::Code(0))].into());
    reaper.kill(waiter);
}

pub fn stopped_holder_is_named() {
    if !locks_are_listed() {
        return;
    }
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let (holder, _ours) = spawn_holder(&scratch.0);
    let fresh = File::open(&scratch.0).unwrap();
    signal::kill(holder, Signal::SIGSTOP).unwrap();
    wait::waitid(Id::Pid(holder), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT).unwrap();
    assert_eq!(holders::holder(&fresh).unwrap(), Some(holder));
    process::resume(holder);
    wait::waitid(Id::Pid(holder), WaitPidFlag::WCONTINUED | WaitPidFlag::WNOWAIT).unwrap();
    process::kill(holder);
    assert_eq!(reaper.next(), (holder, Exit::Killed(Signal::SIGKILL)));
    assert_eq!(holders::holder(&fresh).unwrap(), None);
}

pub fn inherited_lock_is_listed_with_the_pid_that_took_it() {
    if !locks_are_listed() {
        return;
    }
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let ours = File::create(&scratch.0).unwrap();
    let fresh = File::open(&scratch.0).unwrap();
    assert_eq!(lock::try_exclusive(&ours).unwrap(), Attempt::Locked);
    let heir = spawn(One(ours), &[], |_, _| sleep_forever());
    assert_eq!(
        holders::holder(&fresh).unwrap(),
        Some(unistd::getpid()),
        "the kernel names the heir now: change the docs"
    );
    reaper.kill(heir);
    assert_eq!(holders::holder(&fresh).unwrap(), None);
}

/// Whether `/proc/locks` lists the locks of this process; if not, reports that this machine cannot run the test.
fn locks_are_listed() -> bool {
    let scratch = Scratch::new();
    let file = File::create(&scratch.0).unwrap();
    assert_eq!(lock::try_exclusive(&file).unwrap(), Attempt::Locked);
    let pid = format!(" {} ", unistd::getpid());
    let listed = fs::read_to_string("/proc/locks").is_ok_and(|list| list.contains(&pid));
    if !listed {
        eprintln!("SKIPPED: /proc/locks lists no locks here");
    }
    listed
}

/// Spawns a child that holds the lock of `path` until the returned link closes.
fn spawn_holder(path: &Path) -> (Pid, TextLink) {
    let (ours, theirs) = pair();
    let path = path.to_owned();
    let holder = spawn(One(theirs), &[], move |One(link), _| {
        let file = File::create(path).unwrap();
        let guard = lock::exclusive(&file, Duration::ZERO).unwrap();
        assert!(guard.is_some());
        send(&link, "locked");
        assert_eq!(receive(&link), Incoming::Closed);
        0
    });
    expect(&ours, "locked");
    (holder, ours)
}

//! Signals: which process a signal wakes, and how often.

use std::fs;

use ipc::link::Incoming;
use ipc::process::{self, Exit};
use ipc::signals::{self, Signal, SignalSource};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{self, SigSet};
use nix::sys::wait;
use nix::unistd;

use crate::support::{Empty, One, Reaper, Two, expect, is_ready, pair, receive, send, soon, spawn, wait_until};

pub fn sigterm_to_a_child_does_not_wake_its_parent() {
    let parents = SignalSource::subscribe(&[Signal::SIGTERM]).unwrap();
    let reaper = Reaper::new();
    let (ours, theirs) = pair();
    let child = spawn(One(theirs), &[Signal::SIGTERM], |One(link), own| {
        send(&link, "ready");
        assert!(is_ready(&own, soon()), "SIGTERM did not wake the child");
        assert_eq!(receive(&link), Incoming::Closed);
        own.drain().try_into().unwrap()
    });
    expect(&ours, "ready");
    signal::kill(child, Signal::SIGTERM).unwrap();
    drop(ours);
    assert_eq!(reaper.next(), (child, Exit::Code(1)), "one signal wakes the child once");
    assert_eq!(parents.drain(), 0, "the child's signal woke the parent");
    signal::raise(Signal::SIGTERM).unwrap();
    assert_eq!(parents.drain(), 1, "the parent's own signals still wake it");
}

pub fn signal_sent_before_the_child_subscribes_still_wakes_it() {
    const CHILDREN: usize = 100;
    let parents = SignalSource::subscribe(&[Signal::SIGTERM]).unwrap();
    let reaper = Reaper::new();
    for _ in 0..CHILDREN {
        let child =
            spawn(
                Empty,
                &[Signal::SIGTERM],
                |Empty, own| {
                    if is_ready(&own, soon()) { own.drain().try_into().unwrap() } else { 0 }
                },
            );
        signal::kill(child, Signal::SIGTERM).unwrap();
        assert_eq!(reaper.next(), (child, Exit::Code(1)));
    }
    assert_eq!(parents.drain(), 0);
}

/// A process forks all the time while signals arrive for its whole group, as with Ctrl-C in a terminal. Each signal is
/// sent after the previous one was counted, so the kernel cannot merge any. If the parent counts more signals than were
/// sent, then a child has handled one with its parent's pipe.
pub fn signals_during_forks_reach_the_parent_once_each() {
    const SIGNALS: usize = 400;
    let reaper = Reaper::new();
    let forker = spawn(Empty, &[Signal::SIGUSR1], |Empty, own| {
        let group = unistd::getpid();
        unistd::setpgid(group, group).unwrap();
        let (ours, theirs) = pair();
        spawn(One(theirs), &[Signal::SIGUSR1], move |One(link), _| {
            for _ in 0..SIGNALS {
                signal::killpg(group, Signal::SIGUSR1).unwrap();
                expect(&link, "counted");
            }
            0
        });
        let mut counted = 0;
        while counted < SIGNALS {
            spawn(Empty, &[], |Empty, _| 0);
            for _ in 0..own.drain() {
                counted += 1;
                send(&ours, "counted");
            }
            while let Some((_, exit)) = process::reap() {
                assert_eq!(exit, Exit::Code(0));
            }
        }
        assert_eq!(receive(&ours), Incoming::Closed);
        assert_eq!(counted + own.drain(), SIGNALS);
        while wait::waitpid(None, None) != Err(Errno::ECHILD) {}
        0
    });
    assert_eq!(reaper.next(), (forker, Exit::Code(0)));
}

pub fn child_survives_signals_that_only_its_parent_subscribed() {
    let parents = SignalSource::subscribe(&[Signal::SIGINT, Signal::SIGTERM]).unwrap();
    let reaper = Reaper::new();
    let child = spawn(Empty, &[Signal::SIGTERM], |Empty, own| {
        signal::raise(Signal::SIGINT).unwrap();
        signal::raise(Signal::SIGCHLD).unwrap();
        own.drain().try_into().unwrap()
    });
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    assert_eq!(parents.drain(), 0);
}

/// A careless program may start another one with blocked signals.
pub fn subscription_unblocks_its_signals() {
    let reaper = Reaper::new();
    let child = spawn(Empty, &[], |Empty, _| {
        [Signal::SIGTERM].into_iter().collect::<SigSet>().thread_block().unwrap();
        let source = SignalSource::subscribe(&[Signal::SIGTERM]).unwrap();
        signal::raise(Signal::SIGTERM).unwrap();
        source.drain().try_into().unwrap()
    });
    assert_eq!(reaper.next(), (child, Exit::Code(1)));
}

/// As the first step of a program, before it can handle its signals.
pub fn blocked_signal_waits_for_the_subscription() {
    let reaper = Reaper::new();
    let child = spawn(Empty, &[], |Empty, _| {
        signals::block(&[Signal::SIGTERM]).unwrap();
        signal::raise(Signal::SIGTERM).unwrap();
        SignalSource::subscribe(&[Signal::SIGTERM]).unwrap().drain().try_into().unwrap()
    });
    assert_eq!(reaper.next(), (child, Exit::Code(1)));
}

/// As under nohup(1).
pub fn ignored_sighup_stays_ignored() {
    let reaper = Reaper::new();
    let hangups = || {
        let source = SignalSource::subscribe(&[Signal::SIGHUP]).unwrap();
        signal::raise(Signal::SIGHUP).unwrap();
        source.drain().try_into().unwrap()
    };
    let handles = spawn(Empty, &[], move |Empty, _| hangups());
    assert_eq!(reaper.next(), (handles, Exit::Code(1)));
    let ignores = spawn(Empty, &[], move |Empty, _| {
        signals::ignore(&[Signal::SIGHUP]).unwrap();
        hangups()
    });
    assert_eq!(reaper.next(), (ignores, Exit::Code(0)));
}

pub fn disarmed_signal_does_not_kill() {
    let reaper = Reaper::new();
    let killed = spawn(Empty, &[], |Empty, _| signal::raise(Signal::SIGXFSZ).map_or(1, |()| 0));
    assert_eq!(reaper.next(), (killed, Exit::Killed(Signal::SIGXFSZ)));
    let disarmed = spawn(Empty, &[], |Empty, _| {
        signals::disarm(&[Signal::SIGXFSZ]).unwrap();
        signal::raise(Signal::SIGXFSZ).map_or(1, |()| 0)
    });
    assert_eq!(reaper.next(), (disarmed, Exit::Code(0)));
}

pub fn blocking_read_is_not_interrupted() {
    let reaper = Reaper::new();
    let (ours, theirs) = pair();
    let (input, output) = unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let child = spawn(Two(theirs, input), &[Signal::SIGTERM], |Two(link, input), own| {
        send(&link, "ready");
        assert_eq!(unistd::read(&input, &mut [0]), Ok(1));
        own.drain().try_into().unwrap()
    });
    expect(&ours, "ready");
    let state_is = |line: &str| fs::read_to_string(format!("/proc/{child}/status")).unwrap().contains(line);
    wait_until("the child blocks in read(2)", || state_is("State:\tS"));
    signal::kill(child, Signal::SIGTERM).unwrap();
    wait_until("the child has handled SIGTERM", || state_is("ShdPnd:\t0000000000000000"));
    assert_eq!(process::reap(), None, "SIGTERM ended the read");
    unistd::write(&output, b"x").unwrap();
    assert_eq!(reaper.next(), (child, Exit::Code(1)));
}

//! Descriptors: which ones a child holds, and that none is left open.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use ipc::descriptors::Inherited;
use ipc::events::{Poller, Token};
use ipc::link::Incoming;
use ipc::process::{self, Exit};
use ipc::signals::Signal;
use nix::fcntl::{self, FcntlArg};
use nix::unistd;

use crate::support::{
    FIRST_AFTER_STANDARD_STREAMS, One, Reaper, Scratch, TextLink, expect, open_descriptors, pair, receive, send,
    sleep_forever, soon, spawn,
};

pub fn child_holds_its_handover_and_its_signal_pipe_only() {
    const SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let file = File::create(&scratch.0).unwrap();
    let high_number = fcntl::fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
    let poller = Poller::new().unwrap();
    poller.watch_readable(&reaper.signals, Token(0)).unwrap();
    let earlier: Vec<_> = (0..5).map(|_| pair()).collect();
    let (ours, theirs) = pair();
    let child = spawn(One(theirs), &SIGNALS, |One(link), own| {
        let mut open = open_descriptors();
        let pipe = open[&own.as_fd().as_raw_fd()].clone();
        assert!(open.remove(&link.as_fd().as_raw_fd()).unwrap().starts_with("socket:"));
        assert!(pipe.starts_with("pipe:"));
        open.retain(|&fd, target| fd >= FIRST_AFTER_STANDARD_STREAMS && *target != pipe);
        assert_eq!(open, BTreeMap::new());
        send(&link, "checked");
        0
    });
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    expect(&ours, "checked");
    drop(earlier);
    unistd::close(high_number).unwrap();
}

pub fn program_can_close_what_it_inherited() {
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let file = File::create(&scratch.0).unwrap();
    let child = spawn(One(file), &[], |inherited, own| {
        let list = Inherited::list().unwrap();
        let later = File::open("/dev/null").unwrap();
        list.close();
        // Their descriptors are closed already, so their destructors must not run.
        std::mem::forget((inherited, own));
        let mut open = open_descriptors();
        assert!(open.remove(&later.as_raw_fd()).is_some(), "a descriptor that was opened after the list is closed");
        assert!(open.keys().all(|&fd| fd < FIRST_AFTER_STANDARD_STREAMS), "{open:?}");
        0
    });
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
}

pub fn later_child_does_not_hide_the_end_of_an_earlier_link() {
    let reaper = Reaper::new();
    let wait_for_the_end = |One(link): One<TextLink>, _| u8::from(receive(&link) == Incoming::Closed);
    let (to_earlier, theirs) = pair();
    let earlier = spawn(One(theirs), &[], wait_for_the_end);
    let (to_later, theirs) = pair();
    let later = spawn(One(theirs), &[], wait_for_the_end);
    drop(to_earlier);
    assert_eq!(reaper.next(), (earlier, Exit::Code(1)));
    process::kill(later);
    assert_eq!(receive(&to_later), Incoming::Closed);
    assert_eq!(reaper.next(), (later, Exit::Killed(Signal::SIGKILL)));
}

pub fn epoll_reports_a_closed_descriptor_that_a_child_holds() {
    let reaper = Reaper::new();
    let mut poller = Poller::new().unwrap();
    let mut ready = Vec::new();
    for removed in [false, true] {
        let (ours, theirs) = pair();
        let same_description = ours.as_fd().try_clone_to_owned().unwrap();
        poller.watch_readable(&ours, Token(1)).unwrap();
        let child = spawn(One(same_description), &[], |_, _| sleep_forever());
        send(&theirs, "never received");
        if removed {
            poller.remove(&ours).unwrap();
        }
        drop(ours);
        let deadline = if removed { Some(Instant::now()) } else { soon() };
        ready.clear();
        poller.wait(deadline, &mut ready).unwrap();
        assert_eq!(ready.is_empty(), removed, "epoll(7) has changed: callers of remove depend on this trap");
        reaper.kill(child);
    }
}

pub fn two_thousand_children_leave_no_descriptor_open() {
    const CHILDREN: usize = 2000;
    const AT_ONCE: usize = 20;
    let reaper = Reaper::new();
    let before = open_descriptors();
    for _ in 0..CHILDREN / AT_ONCE {
        let links: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (ours, theirs) = pair();
                spawn(One(theirs), &[Signal::SIGTERM], |_, _| 0);
                ours
            })
            .collect();
        assert!(reaper.take(AT_ONCE).into_values().all(|exit| exit == Exit::Code(0)));
        assert!(links.iter().all(|link| receive(link) == Incoming::Closed));
    }
    assert_eq!(open_descriptors(), before);
}

//! The nursery: children that share their parent's table of descriptors for a moment.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ipc::descriptors::{FIRST_PARKED, park};
use ipc::link::Incoming;
use ipc::nursery::{MOST_HELD, Nursery, Parting};
use ipc::process::{self, Exit, Handover, NOT_SET_UP, Pid};
use ipc::signals::{Signal, SignalSource};
use nix::fcntl::{self, FcntlArg};
use nix::sys::signal;
use nix::sys::wait::{self, WaitPidFlag};

use crate::support::{
    FIRST_AFTER_STANDARD_STREAMS, One, Reaper, TextLink, expect, is_ready, open_descriptors, pair, receive,
    receive_pid, send, sleep_forever, soon, spawn, wait_until,
};

/// Attempts to stop a child before its first instruction. Most of them succeed, unless many processors are idle.
const TRIES: usize = 5000;

impl Parting for One<TextLink> {
    fn part(self) -> Vec<OwnedFd> {
        vec![self.0.into()]
    }
}

fn settle(nursery: &mut Nursery) {
    wait_until("all children have a table of their own", || {
        nursery.settle();
        nursery.unsettled().count() == 0
    });
}

/// A child that was stopped before it had a table of its own, and the parent's end of its link.
fn stopped_early(
    nursery: &mut Nursery,
    reaper: &Reaper,
    run: fn(One<TextLink>, SignalSource) -> u8,
) -> (TextLink, Pid) {
    let before = nursery.unsettled().count();
    for _ in 0..TRIES {
        let (ours, theirs) = pair();
        let child = nursery.spawn(One(theirs), &[], run).unwrap();
        signal::kill(child, Signal::SIGSTOP).unwrap();
        wait::waitpid(child, Some(WaitPidFlag::WUNTRACED)).unwrap();
        nursery.settle();
        if nursery.unsettled().count() > before {
            return (ours.park(), child);
        }
        reaper.kill(child);
    }
    panic!("in {TRIES} tries, each child had a table of its own before it was stopped");
}

pub fn child_holds_its_handover_and_its_signal_pipe_only() {
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let earlier: Vec<_> = (0..100).map(|_| park(pair().0.into())).collect();
    assert!(earlier.iter().all(|fd| fd.as_raw_fd() >= FIRST_PARKED));
    let low = File::open("/dev/null").unwrap();
    for _ in 0..50 {
        let (ours, theirs) = pair();
        let child = nursery.spawn(One(theirs), &[Signal::SIGTERM], report_descriptors).unwrap();
        // The child's table may get copies of these.
        let meanwhile: Vec<_> = (0..10).map(|_| low.try_clone().unwrap()).collect();
        assert_eq!(reaper.next(), (child, Exit::Code(0)));
        expect(&ours, "checked");
        drop(meanwhile);
        settle(&mut nursery);
    }
}

/// Checks the descriptors of a child with a signal and a link, and sends `checked`.
fn report_descriptors(One(link): One<TextLink>, own: SignalSource) -> u8 {
    let mut open = open_descriptors();
    assert!(open.remove(&link.as_fd().as_raw_fd()).unwrap().starts_with("socket:"));
    let pipe = open[&own.as_fd().as_raw_fd()].clone();
    assert!(pipe.starts_with("pipe:"));
    assert!(open.iter().all(|(&fd, target)| fd < FIRST_AFTER_STANDARD_STREAMS || *target == pipe), "{open:?}");
    send(&link, "checked");
    0
}

pub fn parent_closes_what_it_holds_when_the_child_is_on_its_own() {
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let (ours, theirs) = pair();
    let number = theirs.as_fd().as_raw_fd();
    let child = nursery.spawn(One(theirs), &[], |One(link), _| u8::from(receive(&link) == Incoming::Closed)).unwrap();
    assert!(open_descriptors().contains_key(&number) && nursery.unsettled().eq([child]));
    assert!(is_ready(&nursery, soon()), "the child did not announce itself");
    settle(&mut nursery);
    assert!(!open_descriptors().contains_key(&number));
    drop(ours);
    assert_eq!(reaper.next(), (child, Exit::Code(1)));
}

pub fn link_of_a_child_that_has_ended_ends_once_it_is_settled() {
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let (ours, theirs) = pair();
    let child = nursery.spawn(One(theirs), &[], |_, _| 0).unwrap();
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    assert_eq!(ours.receive().unwrap(), Incoming::Nothing, "the parent holds the other end");
    nursery.settle();
    assert_eq!(ours.receive().unwrap(), Incoming::Closed);
}

/// What the parent opens and closes while the table is shared is neither lost nor leaked.
pub fn parent_works_on_while_a_child_shares_its_table() {
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let closed_later = File::open("/dev/null").unwrap();
    let (ours, child) = stopped_early(&mut nursery, &reaper, report_descriptors);
    drop(closed_later);
    let (mut input, mut output) = io::pipe().unwrap();
    let parked = park(File::open("/dev/zero").unwrap().into());
    signal::kill(child, Signal::SIGCONT).unwrap();
    expect(&ours, "checked");
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    settle(&mut nursery);
    output.write_all(b"x").unwrap();
    input.read_exact(&mut [0]).unwrap();
    File::from(parked).read_exact(&mut [0; 8]).unwrap();
}

pub fn child_killed_before_it_has_a_table_closes_nothing() {
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let (ours, child) = stopped_early(&mut nursery, &reaper, |_, _| sleep_forever());
    let before = open_descriptors();
    process::kill(child);
    assert_eq!(reaper.next(), (child, Exit::Killed(Signal::SIGKILL)));
    assert_eq!(open_descriptors(), before);
    assert_eq!(ours.receive().unwrap(), Incoming::Nothing, "the parent holds the other end");
    nursery.reaped(child);
    assert_eq!((ours.receive().unwrap(), nursery.unsettled().count()), (Incoming::Closed, 0));
}

/// A dead parent's child that is stopped shares its table with nobody. When it continues, it ends without running.
pub fn child_that_is_stopped_early_does_not_outlive_its_parent() {
    let reaper = Reaper::new();
    let (ours, theirs) = pair();
    let parent = spawn(One(theirs), &[], |One(link), _| {
        let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
        let (_ours, child) = stopped_early(&mut nursery, &reaper, |_, _| sleep_forever());
        send(&link, &child.to_string());
        sleep_forever()
    });
    let child = receive_pid(&ours);
    process::kill(parent);
    assert_eq!(reaper.next(), (parent, Exit::Killed(Signal::SIGKILL)));
    assert_eq!(process::reap(), None, "the child is stopped");
    signal::kill(child, Signal::SIGCONT).unwrap();
    assert_eq!(reaper.next(), (child, Exit::Code(NOT_SET_UP.into())));
}

/// Beyond the limit, children are plain forks, and their descriptors are closed at once.
pub fn stopped_children_do_not_stop_the_nursery() {
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let stopped: Vec<_> =
        (0..MOST_HELD).map(|_| stopped_early(&mut nursery, &reaper, |_, _| sleep_forever()).1).collect();
    let (ours, theirs) = pair();
    let number = theirs.as_fd().as_raw_fd();
    let child = nursery.spawn(One(theirs), &[Signal::SIGTERM], report_descriptors).unwrap();
    assert!(!open_descriptors().contains_key(&number), "a plain fork closes at once");
    expect(&ours, "checked");
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    for child in stopped {
        reaper.kill(child);
        nursery.reaped(child);
    }
}

pub fn handover_with_a_high_number_is_a_plain_fork() {
    struct High(OwnedFd);
    impl Handover for High {
        fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
            vec![self.0.as_fd()]
        }
    }
    impl Parting for High {
        fn part(self) -> Vec<OwnedFd> {
            vec![self.0]
        }
    }
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let high = park(File::open("/dev/zero").unwrap().into());
    let child = nursery
        .spawn(High(high), &[], |High(file), _| u8::from(File::from(file).read_exact(&mut [0]).is_ok()))
        .unwrap();
    assert_eq!(nursery.unsettled().count(), 0);
    assert_eq!(reaper.next(), (child, Exit::Code(1)));
}

/// The cost of a child must not grow with the links of the others: its table has room for the low part only.
pub fn childs_table_does_not_grow_with_its_parents() {
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let null = File::open("/dev/null").unwrap();
    let _parked: Vec<_> = (0..600).map(|_| park(null.try_clone().unwrap().into())).collect();
    let (ours, theirs) = pair();
    let child = nursery
        .spawn(One(theirs), &[], |One(link), _| {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap().trim();
            send(&link, size);
            0
        })
        .unwrap();
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    expect(&ours, "64");
    settle(&mut nursery);
}

pub fn descriptor_without_room_stays_where_it_is() {
    let reaper = Reaper::new();
    let child = spawn(crate::support::Empty, &[], |_, _| {
        use nix::sys::resource::{Resource, setrlimit};
        setrlimit(Resource::RLIMIT_NOFILE, 100, 100).unwrap();
        let fd: OwnedFd = File::open("/dev/null").unwrap().into();
        let number = fd.as_raw_fd();
        let parked = park(fd);
        fcntl::fcntl(&parked, FcntlArg::F_GETFD).unwrap();
        u8::from(parked.as_raw_fd() == number)
    });
    assert_eq!(reaper.next(), (child, Exit::Code(1)));
}

pub fn thousands_of_children_leave_no_descriptor_open() {
    const CHILDREN: usize = 3000;
    let (reaper, mut nursery) = (Reaper::new(), Nursery::new(MOST_HELD).unwrap());
    let before = open_descriptors();
    for _ in 0..CHILDREN / 20 {
        let links: Vec<_> = (0..20)
            .map(|_| {
                let (ours, theirs) = pair();
                nursery.spawn(One(theirs), &[Signal::SIGTERM], |_, _| 0).unwrap();
                ours.park()
            })
            .collect();
        assert!(reaper.take(20).into_values().all(|exit| exit == Exit::Code(0)));
        settle(&mut nursery);
        assert!(links.iter().all(|link| receive(link) == Incoming::Closed));
    }
    assert_eq!(open_descriptors(), before);
}

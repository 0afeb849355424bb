//! Every trap of forking servers that `ipc` is responsible for, sprung on purpose.
//!
//! Forking is safe from a process of one thread alone, and libtest has several: so no libtest here, but `libtest-mimic`
//! on the main thread, one test after the other. [`spawn`] asserts that there is no other thread, and [`judged`] that a
//! test leaves neither a child nor a descriptor behind. Nothing waits for time to pass: whatever is expected is
//! awaited, at most [`PATIENCE`].
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags, Poller, Token};
use ipc::link::{Incoming, Link, MESSAGE_MAX, Message};
use ipc::lock::{self, Attempt};
use ipc::process::{self, Exit, Handover, NOT_SET_UP, PANICKED, Pid};
use ipc::signals::{self, Signal, SignalSource};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::errno::Errno;
use nix::fcntl::{self, FcntlArg, OFlag};
use nix::sys::prctl;
use nix::sys::signal::{self as sys_signal, SigSet};
use nix::sys::wait::{self, Id, WaitPidFlag, WaitStatus};
use nix::unistd::{self, alarm};

/// How long something may take that takes microseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test may take that takes a second at most.
const STUCK_SECONDS: u32 = 100;
/// Behind the standard streams.
const FIRST_OWN_FD: RawFd = 3;
/// What a test's own process ends with if it is a child that has escaped from [`process::spawn`].
const ESCAPED: i32 = 99;

macro_rules! trials {
    ($($test:ident),* $(,)?) => { vec![$(Trial::test(stringify!($test), || judged($test))),*] };
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    // Orphans come to this process, so that their fate is seen, and none outlives the tests.
    prctl::set_child_subreaper(true).unwrap();
    let trials = trials![
        a_lock_on_an_inherited_descriptor_excludes_no_sibling,
        a_lock_on_a_freshly_opened_file_excludes_siblings_and_parent,
        a_lock_is_held_until_the_last_process_that_inherited_it_is_gone,
        a_lock_dies_with_its_holder,
        waiting_for_a_lock_is_bounded_also_in_a_storm_of_signals,
        sigterm_to_a_child_wakes_the_child_and_not_its_parent,
        a_signal_that_comes_before_the_child_has_subscribed_still_wakes_it,
        signals_during_a_fork_reach_the_parent_once_each,
        a_child_hears_its_own_signals_alone_and_dies_of_none_that_its_parent_catches,
        a_signal_that_was_blocked_is_heard_once_it_is_subscribed_to,
        a_disarmed_signal_kills_nobody,
        a_child_starts_with_its_luggage_and_its_signal_pipe_alone,
        a_program_can_shed_what_it_was_started_with,
        a_later_child_does_not_hide_the_end_of_an_earlier_ones_link,
        a_child_dies_with_its_parent,
        a_stopped_child_dies_with_its_parent,
        a_child_whose_parent_is_gone_before_it_was_tied_to_it_runs_nothing,
        exit_codes_pass_through_and_a_panic_becomes_101,
        a_killed_child_is_reported_with_its_signal,
        a_child_that_a_nameless_signal_killed_is_reported_beside_others,
        a_child_never_falls_into_its_parents_code_and_runs_none_of_its_destructors,
        what_stdout_still_buffers_at_a_fork_is_written_twice,
        children_whose_sigchlds_merge_are_all_reaped_and_none_twice,
        messages_keep_their_borders_and_their_order_and_outlive_their_sender,
        the_end_of_a_link_may_come_before_the_end_of_the_child,
        what_a_killed_peer_had_sent_is_received_before_the_end,
        sending_to_a_gone_peer_is_an_error_and_no_sigpipe,
        a_peer_that_reads_nothing_blocks_nobody,
        a_packet_that_is_no_message_is_an_error_and_hides_none_behind_it,
        descriptors_are_the_same_after_2000_children_as_before,
    ];
    libtest_mimic::run(&args, trials).exit_code()
}

/// Runs one test; whatever it did, no child of it is left for the next.
fn judged(test: fn()) -> Result<(), Failed> {
    let (runner, before) = (unistd::getpid(), descriptors());
    // Ends the whole run where something blocks that must not; no child inherits it.
    alarm::set(STUCK_SECONDS);
    let outcome = panic::catch_unwind(test);
    if unistd::getpid() != runner {
        std::process::exit(ESCAPED);
    }
    let left = children();
    // One after the other: their children become ours.
    while let Some(&child) = children().first() {
        process::kill(child);
        until_ended(child);
        process::reap();
        let _ = wait::waitpid(child, None);
    }
    alarm::cancel();
    outcome.unwrap_or_else(|cause| panic::resume_unwind(cause));
    assert_eq!(left, [], "children were left behind");
    assert_eq!(descriptors(), before, "descriptors were left open");
    Ok(())
}

// ---- locks -------------------------------------------------------------------------------------------------------

fn a_lock_on_an_inherited_descriptor_excludes_no_sibling() {
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let inherited = File::create(&scratch.0).unwrap();
    let (ours, theirs) = pair();
    let holder = spawn(Both(theirs, inherited.try_clone().unwrap()), &[], |Both(link, file), _| {
        assert_eq!(lock::try_exclusive(&file).unwrap(), Attempt::Locked);
        say(&link, "locked");
        forever()
    });
    hear(&ours, "locked");
    let sibling =
        spawn(Holds(inherited), &[], |Holds(file), _| u8::from(lock::try_exclusive(&file).unwrap() == Attempt::Locked));
    assert_eq!(nursery.next(), (sibling, Exit::Code(1)), "flock(2) has changed: docs and design lean on this trap");
    nursery.kill(holder);
}

fn a_lock_on_a_freshly_opened_file_excludes_siblings_and_parent() {
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let (holder, _ours) = holder_of(&scratch.0);
    let path = scratch.0.clone();
    let sibling = spawn(Nothing, &[], move |Nothing, _| {
        lock::exclusive(&File::open(path).unwrap(), Duration::ZERO).unwrap().is_some().into()
    });
    assert_eq!(nursery.next(), (sibling, Exit::Code(0)));
    let fresh = File::open(&scratch.0).unwrap();
    assert_eq!(lock::try_exclusive(&fresh).unwrap(), Attempt::Busy);
    nursery.kill(holder);
}

/// What the server's own lock lives on: no old child can write beside a new server.
fn a_lock_is_held_until_the_last_process_that_inherited_it_is_gone() {
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let ours = File::create(&scratch.0).unwrap();
    let fresh = File::open(&scratch.0).unwrap();
    assert_eq!(lock::try_exclusive(&ours).unwrap(), Attempt::Locked);
    let heir = spawn(Holds(ours), &[], |_, _| forever());
    assert_eq!(lock::try_exclusive(&fresh).unwrap(), Attempt::Busy);
    nursery.kill(heir);
    assert_eq!(lock::try_exclusive(&fresh).unwrap(), Attempt::Locked);
}

fn a_lock_dies_with_its_holder() {
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let (holder, _ours) = holder_of(&scratch.0);
    let fresh = File::open(&scratch.0).unwrap();
    assert!(lock::exclusive(&fresh, Duration::ZERO).unwrap().is_none());
    process::kill(holder);
    assert!(lock::exclusive(&fresh, PATIENCE).unwrap().is_some());
    assert_eq!(nursery.next(), (holder, Exit::Killed(Signal::SIGKILL)));
}

fn waiting_for_a_lock_is_bounded_also_in_a_storm_of_signals() {
    const PATIENCE_FOR_THE_LOCK: Duration = Duration::from_millis(60);
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let (holder, lease) = holder_of(&scratch.0);
    let (ours, theirs) = pair();
    let path = scratch.0.clone();
    let waiter = spawn(Holds(theirs), &[Signal::SIGUSR1], move |Holds(link), storm| {
        let fresh = File::open(path).unwrap();
        hear(&link, "the storm is on");
        let mut interruptions = 0;
        while interruptions < 20 {
            let begin = Instant::now();
            assert!(lock::exclusive(&fresh, PATIENCE_FOR_THE_LOCK).unwrap().is_none());
            assert!((PATIENCE_FOR_THE_LOCK..PATIENCE).contains(&begin.elapsed()));
            interruptions += storm.drain();
        }
        say(&link, "still waiting");
        assert!(lock::exclusive(&fresh, PATIENCE).unwrap().is_some());
        say(&link, "got it");
        forever()
    });
    let (until, stop) = unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let storm = spawn(Holds(until), &[], move |Holds(until), _| {
        // With less of a pause the waiter would do nothing but handle signals.
        while !is_ready(&until, Some(Instant::now() + Duration::from_millis(1))) {
            sys_signal::kill(waiter, Signal::SIGUSR1).unwrap();
        }
        0
    });
    say(&ours, "the storm is on");
    hear(&ours, "still waiting");
    drop(lease);
    hear(&ours, "got it");
    drop(stop);
    assert_eq!(nursery.take(2), [(holder, Exit::Code(0)), (storm, Exit::Code(0))].into());
    nursery.kill(waiter);
}

/// A child that locks `path`, until its link closes.
fn holder_of(path: &Path) -> (Pid, Wire) {
    let (ours, theirs) = pair();
    let path = path.to_owned();
    let holder = spawn(Holds(theirs), &[], move |Holds(link), _| {
        let file = File::create(path).unwrap();
        let guard = lock::exclusive(&file, Duration::ZERO).unwrap();
        assert!(guard.is_some());
        say(&link, "locked");
        assert_eq!(receive(&link), Incoming::Closed);
        0
    });
    hear(&ours, "locked");
    (holder, ours)
}

// ---- signals -----------------------------------------------------------------------------------------------------

fn sigterm_to_a_child_wakes_the_child_and_not_its_parent() {
    let parents = SignalSource::subscribe(&[Signal::SIGTERM]).unwrap();
    let nursery = Nursery::new();
    let (ours, theirs) = pair();
    let child = spawn(Holds(theirs), &[Signal::SIGTERM], |Holds(link), own| {
        say(&link, "ready");
        assert!(is_ready(&own, soon()), "SIGTERM did not wake the child");
        assert_eq!(receive(&link), Incoming::Closed);
        own.drain().try_into().unwrap()
    });
    hear(&ours, "ready");
    sys_signal::kill(child, Signal::SIGTERM).unwrap();
    drop(ours);
    assert_eq!(nursery.next(), (child, Exit::Code(1)), "one signal is one wake-up");
    assert_eq!(parents.drain(), 0, "the child's signal woke the parent");
    sys_signal::raise(Signal::SIGTERM).unwrap();
    assert_eq!(parents.drain(), 1, "the parent hears its own signals still");
}

fn a_signal_that_comes_before_the_child_has_subscribed_still_wakes_it() {
    const CHILDREN: usize = 100;
    let parents = SignalSource::subscribe(&[Signal::SIGTERM]).unwrap();
    let nursery = Nursery::new();
    for _ in 0..CHILDREN {
        let child = spawn(Nothing, &[Signal::SIGTERM], |Nothing, own| {
            if is_ready(&own, soon()) { own.drain().try_into().unwrap() } else { 0 }
        });
        sys_signal::kill(child, Signal::SIGTERM).unwrap();
        assert_eq!(nursery.next(), (child, Exit::Code(1)));
    }
    assert_eq!(parents.drain(), 0);
}

/// Signals to the whole group, as a terminal's Ctrl-C is one, while a process forks all the time. Each is sent after
/// the one before was counted, so none may merge: one more than were sent was handled in a child, with its parent's
/// pipe.
fn signals_during_a_fork_reach_the_parent_once_each() {
    const SIGNALS: usize = 400;
    let nursery = Nursery::new();
    let forker = spawn(Nothing, &[Signal::SIGUSR1], |Nothing, own| {
        let group = unistd::getpid();
        unistd::setpgid(group, group).unwrap();
        let (ours, theirs) = pair();
        spawn(Holds(theirs), &[Signal::SIGUSR1], move |Holds(link), _| {
            for _ in 0..SIGNALS {
                sys_signal::killpg(group, Signal::SIGUSR1).unwrap();
                hear(&link, "counted");
            }
            0
        });
        let mut counted = 0;
        while counted < SIGNALS {
            spawn(Nothing, &[], |Nothing, _| 0);
            for _ in 0..own.drain() {
                counted += 1;
                say(&ours, "counted");
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
    assert_eq!(nursery.next(), (forker, Exit::Code(0)));
}

fn a_child_hears_its_own_signals_alone_and_dies_of_none_that_its_parent_catches() {
    let parents = SignalSource::subscribe(&[Signal::SIGINT, Signal::SIGTERM]).unwrap();
    let nursery = Nursery::new();
    let child = spawn(Nothing, &[Signal::SIGTERM], |Nothing, own| {
        sys_signal::raise(Signal::SIGINT).unwrap();
        sys_signal::raise(Signal::SIGCHLD).unwrap();
        own.drain().try_into().unwrap()
    });
    assert_eq!(nursery.next(), (child, Exit::Code(0)));
    assert_eq!(parents.drain(), 0);
}

/// As a program may be that a careless one has started.
fn a_signal_that_was_blocked_is_heard_once_it_is_subscribed_to() {
    let nursery = Nursery::new();
    let child = spawn(Nothing, &[], |Nothing, _| {
        [Signal::SIGTERM].into_iter().collect::<SigSet>().thread_block().unwrap();
        let source = SignalSource::subscribe(&[Signal::SIGTERM]).unwrap();
        sys_signal::raise(Signal::SIGTERM).unwrap();
        source.drain().try_into().unwrap()
    });
    assert_eq!(nursery.next(), (child, Exit::Code(1)));
}

fn a_disarmed_signal_kills_nobody() {
    let nursery = Nursery::new();
    let deadly = spawn(Nothing, &[], |Nothing, _| sys_signal::raise(Signal::SIGXFSZ).map_or(1, |()| 0));
    assert_eq!(nursery.next(), (deadly, Exit::Killed(Signal::SIGXFSZ)));
    let disarmed = spawn(Nothing, &[], |Nothing, _| {
        signals::disarm(&[Signal::SIGXFSZ]).unwrap();
        sys_signal::raise(Signal::SIGXFSZ).map_or(1, |()| 0)
    });
    assert_eq!(nursery.next(), (disarmed, Exit::Code(0)));
}

// ---- descriptors -------------------------------------------------------------------------------------------------

fn a_child_starts_with_its_luggage_and_its_signal_pipe_alone() {
    const SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let file = File::create(&scratch.0).unwrap();
    let far_away = fcntl::fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
    let poller = Poller::new().unwrap();
    poller.watch_readable(&nursery.0, Token(0)).unwrap();
    let earlier: Vec<_> = (0..5).map(|_| pair()).collect();
    let (ours, theirs) = pair();
    let child = spawn(Holds(theirs), &SIGNALS, |Holds(link), own| {
        let mut open = descriptors();
        let pipe = open[&own.as_fd().as_raw_fd()].clone();
        assert!(open.remove(&link.as_fd().as_raw_fd()).unwrap().starts_with("socket:"));
        assert!(pipe.starts_with("pipe:"));
        open.retain(|&fd, to| fd >= FIRST_OWN_FD && *to != pipe);
        assert_eq!(open, BTreeMap::new());
        say(&link, "well");
        0
    });
    assert_eq!(nursery.next(), (child, Exit::Code(0)));
    hear(&ours, "well");
    drop(earlier);
    unistd::close(far_away).unwrap();
}

fn a_program_can_shed_what_it_was_started_with() {
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let file = File::create(&scratch.0).unwrap();
    let child = spawn(Holds(file), &[], |held, own| {
        process::close_inherited().unwrap();
        // Closed already, and not by their owners.
        std::mem::forget((held, own));
        assert!(descriptors().keys().all(|&fd| fd < FIRST_OWN_FD), "{:?}", descriptors());
        0
    });
    assert_eq!(nursery.next(), (child, Exit::Code(0)));
}

fn a_later_child_does_not_hide_the_end_of_an_earlier_ones_link() {
    let nursery = Nursery::new();
    let waits_for_the_end = |Holds(link): Holds<Wire>, _| u8::from(receive(&link) == Incoming::Closed);
    let (to_earlier, theirs) = pair();
    let earlier = spawn(Holds(theirs), &[], waits_for_the_end);
    let (to_later, theirs) = pair();
    let later = spawn(Holds(theirs), &[], waits_for_the_end);
    drop(to_earlier);
    assert_eq!(nursery.next(), (earlier, Exit::Code(1)));
    process::kill(later);
    assert_eq!(receive(&to_later), Incoming::Closed);
    assert_eq!(nursery.next(), (later, Exit::Killed(Signal::SIGKILL)));
}

fn descriptors_are_the_same_after_2000_children_as_before() {
    const CHILDREN: usize = 2000;
    const AT_ONCE: usize = 20;
    let nursery = Nursery::new();
    let before = descriptors();
    for _ in 0..CHILDREN / AT_ONCE {
        let links: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (ours, theirs) = pair();
                spawn(Holds(theirs), &[Signal::SIGTERM], |_, _| 0);
                ours
            })
            .collect();
        assert!(nursery.take(AT_ONCE).into_values().all(|exit| exit == Exit::Code(0)));
        assert!(links.iter().all(|link| receive(link) == Incoming::Closed));
    }
    assert_eq!(descriptors(), before);
}

// ---- the bond between parent and child ---------------------------------------------------------------------------

fn a_child_dies_with_its_parent() {
    orphaned(|_| ());
}

fn a_stopped_child_dies_with_its_parent() {
    orphaned(|child| {
        sys_signal::kill(child, Signal::SIGSTOP).unwrap();
        let stopped = wait::waitpid(child, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(child, Signal::SIGSTOP));
    });
}

/// A child has a child, does `something` to it, and is killed.
fn orphaned(something: fn(Pid)) {
    let nursery = Nursery::new();
    let (ours, theirs) = pair();
    let parent = spawn(Holds(theirs), &[], move |Holds(link), _| {
        let (down, up) = pair();
        let child = spawn(Holds(up), &[], |Holds(link), _| {
            say(&link, "tied");
            forever()
        });
        hear(&down, "tied");
        something(child);
        say(&link, &child.to_string());
        forever()
    });
    let Incoming::Message(Note(child)) = receive(&ours) else { panic!("the parent is gone") };
    let child = Pid::from_raw(child.parse().unwrap());
    process::kill(parent);
    let killed = Exit::Killed(Signal::SIGKILL);
    assert_eq!(nursery.take(2), [(parent, killed), (child, killed)].into());
}

/// The parent ends right after the fork, and stops the child before, if it can: often the child has not begun by then,
/// and no death signal was set. What matters is that no such child lives on, and that this path was taken at all.
fn a_child_whose_parent_is_gone_before_it_was_tied_to_it_runs_nothing() {
    const TRIES: usize = 2000;
    let nursery = Nursery::new();
    for _ in 0..TRIES {
        let (ours, theirs) = pair();
        let parent = spawn(Holds(theirs), &[], |Holds(link), _| {
            let child = spawn(Nothing, &[], |Nothing, _| forever());
            sys_signal::kill(child, Signal::SIGSTOP).unwrap();
            say(&link, &child.to_string());
            process::kill(unistd::getpid());
            forever()
        });
        let Incoming::Message(Note(child)) = receive(&ours) else { panic!("the parent is gone") };
        let child = Pid::from_raw(child.parse().unwrap());
        until_ended(parent);
        sys_signal::kill(child, Signal::SIGCONT).unwrap();
        let ends = nursery.take(2);
        assert_eq!(ends[&parent], Exit::Killed(Signal::SIGKILL));
        match ends[&child] {
            Exit::Code(code) if code == i32::from(NOT_SET_UP) => return,
            exit => assert_eq!(exit, Exit::Killed(Signal::SIGKILL)),
        }
    }
    panic!("no child was late enough in {TRIES} tries");
}

fn exit_codes_pass_through_and_a_panic_becomes_101() {
    let nursery = Nursery::new();
    for code in [0, 1, 42, 255] {
        let child = spawn(Nothing, &[], move |Nothing, _| code);
        assert_eq!(nursery.next(), (child, Exit::Code(code.into())));
    }
    let living = quietly(|| spawn(Nothing, &[], |Nothing, _| panic!("on purpose")));
    assert_eq!(nursery.next(), (living, Exit::Code(PANICKED.into())));
    let packing = quietly(|| spawn(PanicsWhenAsked, &[], |_, _| 0));
    assert_eq!(nursery.next(), (packing, Exit::Code(PANICKED.into())));
}

fn a_killed_child_is_reported_with_its_signal() {
    let nursery = Nursery::new();
    for signal in [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGALRM] {
        let child = spawn(Nothing, &[], |Nothing, _| forever());
        sys_signal::kill(child, signal).unwrap();
        assert_eq!(nursery.next(), (child, Exit::Killed(signal)));
    }
}

fn a_child_that_a_nameless_signal_killed_is_reported_beside_others() {
    let nursery = Nursery::new();
    let children: Vec<_> = (0..4).map(|_| spawn(Nothing, &[], |Nothing, _| forever())).collect();
    let [one, killed, other, _alive] = children[..] else { unreachable!() };
    // The shell knows real-time signals by their number; nix does not know them at all.
    let script = format!("kill -40 {one}; kill -9 {killed}; kill -41 {other}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    [one, killed, other].into_iter().for_each(until_ended);
    let ends = [
        (one, Exit::KilledByRealTimeSignal),
        (killed, Exit::Killed(Signal::SIGKILL)),
        (other, Exit::KilledByRealTimeSignal),
    ];
    assert_eq!(nursery.take(3), ends.into());
    assert_eq!(process::reap(), None);
    // A child knows its own children alone, and not the siblings of which it has inherited the list.
    let forker = spawn(Nothing, &[], |Nothing, _| {
        let grandchild = spawn(Nothing, &[], |Nothing, _| forever());
        assert!(Command::new("sh").args(["-c", "kill -40 $0", &grandchild.to_string()]).status().unwrap().success());
        until_ended(grandchild);
        assert_eq!(process::reap(), Some((grandchild, Exit::KilledByRealTimeSignal)));
        0
    });
    assert_eq!(nursery.next(), (forker, Exit::Code(0)));
    nursery.kill(children[3]);
}

fn a_child_never_falls_into_its_parents_code_and_runs_none_of_its_destructors() {
    let nursery = Nursery::new();
    let scratch = Scratch::new();
    let witness = Witness(scratch.0.clone());
    let lives: [fn() -> u8; 3] = [|| 0, || panic!("on purpose"), || panic::panic_any(Bomb)];
    for life in lives {
        quietly(|| spawn(Nothing, &[], move |Nothing, _| life()));
        witness.testify("fell into the loop of");
    }
    nursery.take(lives.len());
    drop(witness);
    let me = unistd::getpid();
    let expected = format!("fell into the loop of {me}\n").repeat(lives.len()) + &format!("was dropped by {me}\n");
    assert_eq!(fs::read_to_string(&scratch.0).unwrap(), expected);
}

/// Tells in a file which processes have come by.
struct Witness(PathBuf);

impl Witness {
    fn testify(&self, deed: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.0).unwrap();
        writeln!(file, "{deed} {}", unistd::getpid()).unwrap();
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.testify("was dropped by");
    }
}

/// Panics once more when a caught panic is thrown away.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in the destructor of a panic");
    }
}

/// Not what anybody wants, but what happens: so nothing is buffered across a fork.
fn what_stdout_still_buffers_at_a_fork_is_written_twice() {
    let nursery = Nursery::new();
    let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let child = spawn(Holds(write), &[], |Holds(write), _| {
        unistd::dup2_stdout(&write).unwrap();
        io::stdout().write_all(b"no line feed ").unwrap();
        let grandchild = spawn(Nothing, &[], |Nothing, _| 0);
        assert_eq!(wait::waitpid(grandchild, None), Ok(WaitStatus::Exited(grandchild, 0)));
        0
    });
    assert_eq!(nursery.next(), (child, Exit::Code(0)));
    let mut written = String::new();
    File::from(read).read_to_string(&mut written).unwrap();
    assert_eq!(written, "no line feed no line feed ");
}

fn children_whose_sigchlds_merge_are_all_reaped_and_none_twice() {
    const CHILDREN: usize = 50;
    let nursery = Nursery::new();
    let held_back: SigSet = [Signal::SIGCHLD].into_iter().collect();
    held_back.thread_block().unwrap();
    let children: Vec<_> =
        (0..CHILDREN).map(|code| spawn(Nothing, &[], move |Nothing, _| code.try_into().unwrap())).collect();
    children.iter().copied().for_each(until_ended);
    held_back.thread_unblock().unwrap();
    assert_eq!(nursery.0.drain(), 1, "the kernel merges them all");
    let reaped: Vec<_> = std::iter::from_fn(process::reap).take(CHILDREN + 1).collect();
    let expected: BTreeMap<_, _> = children.into_iter().zip((0..).map(Exit::Code)).collect();
    assert_eq!(reaped.len(), CHILDREN);
    assert_eq!(BTreeMap::from_iter(reaped), expected);
}

// ---- links -------------------------------------------------------------------------------------------------------

/// SIGCHLD first, then the end of the link: what the child had sent is there all the same.
fn messages_keep_their_borders_and_their_order_and_outlive_their_sender() {
    let nursery = Nursery::new();
    let messages = || (0..120).map(|n| format!("{n:0$}", n % MESSAGE_MAX + 1));
    let (ours, theirs) = pair();
    let child = spawn(Holds(theirs), &[], move |Holds(link), _| {
        messages().for_each(|text| say(&link, &text));
        0
    });
    assert_eq!(nursery.next(), (child, Exit::Code(0)));
    messages().for_each(|text| hear(&ours, &text));
    assert_eq!(ours.receive().unwrap(), Incoming::Closed);
    assert_eq!(ours.receive().unwrap(), Incoming::Closed);
}

fn the_end_of_a_link_may_come_before_the_end_of_the_child() {
    let nursery = Nursery::new();
    let (ours, theirs) = pair();
    let (leash, collar) = pair();
    let child = spawn(Both(theirs, collar), &[], |Both(link, collar), _| {
        say(&link, "bye");
        drop(link);
        u8::from(receive(&collar) == Incoming::Closed)
    });
    hear(&ours, "bye");
    assert_eq!(receive(&ours), Incoming::Closed);
    assert_eq!(process::reap(), None);
    drop(leash);
    assert_eq!(nursery.next(), (child, Exit::Code(1)));
}

/// Its death with orders unread makes the next receive(2) fail with ECONNRESET, which is no end.
fn what_a_killed_peer_had_sent_is_received_before_the_end() {
    let nursery = Nursery::new();
    let (ours, theirs) = pair();
    ["never", "read"].iter().for_each(|order| say(&ours, order));
    let child = spawn(Holds(theirs), &[], |Holds(link), _| {
        say(&link, "stored");
        say(&link, "ended");
        process::kill(unistd::getpid());
        forever()
    });
    assert_eq!(nursery.next(), (child, Exit::Killed(Signal::SIGKILL)));
    hear(&ours, "stored");
    hear(&ours, "ended");
    assert_eq!(ours.receive().unwrap(), Incoming::Closed);
}

fn sending_to_a_gone_peer_is_an_error_and_no_sigpipe() {
    let nursery = Nursery::new();
    // Rust programs start with SIGPIPE ignored; caught, it can be seen.
    let child = spawn(Nothing, &[Signal::SIGPIPE], |Nothing, sigpipe| {
        let (ours, theirs) = pair();
        say(&theirs, "never read");
        say(&ours, "never read");
        drop(theirs);
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        for _ in 0..3 {
            assert!(gone.contains(&ours.send(&Note("hello?".into())).unwrap_err().kind()));
        }
        sigpipe.drain().try_into().unwrap()
    });
    assert_eq!(nursery.next(), (child, Exit::Code(0)));
}

fn a_peer_that_reads_nothing_blocks_nobody() {
    let (ours, theirs) = pair();
    let refused = (0..1_000_000).find_map(|sent| ours.send(&Note("more".into())).err().map(|error| (sent, error)));
    let (sent, error) = refused.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(sent >= 100, "{sent}");
    (0..sent).for_each(|_| hear(&theirs, "more"));
    assert_eq!(theirs.receive().unwrap(), Incoming::Nothing);
    say(&ours, "and more");
}

fn a_packet_that_is_no_message_is_an_error_and_hides_none_behind_it() {
    let (ours, theirs) = pair();
    let no_text = [0xff; 3];
    let too_long = [b'x'; MESSAGE_MAX + 1];
    for packet in [&no_text[..], &too_long] {
        unistd::write(&theirs, packet).unwrap();
        assert_eq!(ours.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    say(&theirs, "a message");
    hear(&ours, "a message");
}

// ---- helpers -----------------------------------------------------------------------------------------------------

type Wire = Link<Note, Note>;

#[derive(Debug, PartialEq, Eq)]
struct Note(String);

impl Message for Note {
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize {
        packet[..self.0.len()].copy_from_slice(self.0.as_bytes());
        self.0.len()
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        Some(Self(str::from_utf8(packet).ok()?.to_owned()))
    }
}

fn pair() -> (Wire, Wire) {
    Wire::pair().unwrap()
}

fn say(link: &Wire, text: &str) {
    link.send(&Note(text.into())).unwrap();
}

fn hear(link: &Wire, text: &str) {
    assert_eq!(receive(link), Incoming::Message(Note(text.into())));
}

/// What comes next, once it comes.
fn receive(link: &Wire) -> Incoming<Note> {
    assert!(is_ready(link, soon()), "nothing came over a link");
    link.receive().unwrap()
}

struct Nothing;

impl Handover for Nothing {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}

struct Holds<A>(A);

impl<A: AsFd + 'static> Handover for Holds<A> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd()]
    }
}

struct Both<A, B>(A, B);

impl<A: AsFd + 'static, B: AsFd + 'static> Handover for Both<A, B> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd(), self.1.as_fd()]
    }
}

struct PanicsWhenAsked;

impl Handover for PanicsWhenAsked {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        panic!("on purpose")
    }
}

fn spawn<G: Handover>(given: G, signals: &[Signal], run: impl FnOnce(G, SignalSource) -> u8 + 'static) -> Pid {
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 1, "forked beside another thread");
    let mask = SigSet::thread_get_mask().unwrap();
    let child = process::spawn(given, signals, run).unwrap();
    assert_eq!(SigSet::thread_get_mask().unwrap(), mask, "no signal reaches the parent any more");
    child
}

/// The ends of children, awaited.
struct Nursery(SignalSource);

impl Nursery {
    fn new() -> Self {
        Self(SignalSource::subscribe(&[Signal::SIGCHLD]).unwrap())
    }

    fn next(&self) -> (Pid, Exit) {
        loop {
            if let Some(end) = process::reap() {
                return end;
            }
            assert!(is_ready(&self.0, soon()), "no child ended");
            self.0.drain();
        }
    }

    fn take(&self, count: usize) -> BTreeMap<Pid, Exit> {
        let ends: BTreeMap<_, _> = (0..count).map(|_| self.next()).collect();
        assert_eq!(ends.len(), count, "one was reaped twice");
        ends
    }

    fn kill(&self, child: Pid) {
        process::kill(child);
        assert_eq!(self.next(), (child, Exit::Killed(Signal::SIGKILL)));
    }
}

/// Waits until `child` has ended, and leaves it to be reaped.
fn until_ended(child: Pid) {
    // Fails for a signal that nix has no name for, and has waited all the same.
    let _ = wait::waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
}

/// A path of its own, and nothing there afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("ipc-processes-{}", unistd::getpid())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn is_ready(fd: impl AsFd, deadline: Option<Instant>) -> bool {
    events::wait(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], deadline).unwrap() > 0
}

fn forever() -> ! {
    loop {
        let _ = events::wait(&mut [], None);
    }
}

fn quietly<T>(call: impl FnOnce() -> T) -> T {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = call();
    panic::set_hook(hook);
    result
}

/// What this process has open, and where each leads.
fn descriptors() -> BTreeMap<RawFd, String> {
    let listed: Vec<RawFd> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    // The one through which they were listed is closed now.
    let target = |fd: &RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).ok()?.to_str().map(str::to_owned);
    listed.into_iter().filter_map(|fd| Some((fd, target(&fd)?))).collect()
}

/// Children of this process that nobody has reaped.
fn children() -> Vec<Pid> {
    let listed = fs::read_to_string("/proc/thread-self/children").unwrap();
    listed.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

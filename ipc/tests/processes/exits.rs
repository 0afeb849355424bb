//! Ends of children: what the parent learns, and what runs in a child that ends.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::panic;
use std::path::PathBuf;
use std::process::Command;

use ipc::process::{self, Exit, Handover, PANICKED};
use ipc::signals::Signal;
use nix::fcntl::OFlag;
use nix::sys::signal::{self, SigSet};
use nix::sys::wait::{self, WaitStatus};
use nix::unistd;

use crate::support::{Empty, One, Reaper, Scratch, sleep_forever, spawn, wait_until_ended, without_panic_output};

pub fn codes_arrive_unchanged_and_a_panic_is_101() {
    let reaper = Reaper::new();
    for code in [0, 1, 42, 255] {
        let child = spawn(Empty, &[], move |Empty, _| code);
        assert_eq!(reaper.next(), (child, Exit::Code(code.into())));
    }
    let in_run = without_panic_output(|| spawn(Empty, &[], |Empty, _| panic!("on purpose")));
    assert_eq!(reaper.next(), (in_run, Exit::Code(PANICKED.into())));
    let in_set_up = without_panic_output(|| spawn(PanicsWhenListed, &[], |_, _| 0));
    assert_eq!(reaper.next(), (in_set_up, Exit::Code(PANICKED.into())));
}

struct PanicsWhenListed;

impl Handover for PanicsWhenListed {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        panic!("on purpose")
    }
}

pub fn killed_child_is_reported_with_its_signal() {
    let reaper = Reaper::new();
    for signal in [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGALRM] {
        let child = spawn(Empty, &[], |Empty, _| sleep_forever());
        signal::kill(child, signal).unwrap();
        assert_eq!(reaper.next(), (child, Exit::Killed(signal)));
    }
}

pub fn real_time_signal_is_reported_for_the_right_child() {
    let reaper = Reaper::new();
    let children: Vec<_> = (0..4).map(|_| spawn(Empty, &[], |Empty, _| sleep_forever())).collect();
    let [one, killed, other, alive] = children[..] else { unreachable!() };
    // nix cannot send a real-time signal, but the shell can, by its number.
    let script = format!("kill -40 {one}; kill -9 {killed}; kill -41 {other}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    [one, killed, other].into_iter().for_each(wait_until_ended);
    let real_time = Exit::KilledByRealTimeSignal;
    let ended = [(one, real_time), (killed, Exit::Killed(Signal::SIGKILL)), (other, real_time)];
    assert_eq!(reaper.take(3), ended.into());
    assert_eq!(process::reap(), None);
    // A child reports its own children only.
    let forker = spawn(Empty, &[], |Empty, _| {
        let grandchild = spawn(Empty, &[], |Empty, _| sleep_forever());
        assert!(Command::new("sh").args(["-c", "kill -40 $0", &grandchild.to_string()]).status().unwrap().success());
        wait_until_ended(grandchild);
        assert_eq!(process::reap(), Some((grandchild, Exit::KilledByRealTimeSignal)));
        0
    });
    assert_eq!(reaper.next(), (forker, Exit::Code(0)));
    reaper.kill(alive);
}

pub fn child_runs_no_code_and_no_destructor_of_its_parent() {
    let reaper = Reaper::new();
    let scratch = Scratch::new();
    let recorder = Recorder(scratch.0.clone());
    let lives: [fn() -> u8; 3] = [|| 0, || panic!("on purpose"), || panic::panic_any(PanicsWhenDropped)];
    for life in lives {
        without_panic_output(|| spawn(Empty, &[], move |Empty, _| life()));
        recorder.record("returned from spawn:");
    }
    reaper.take(lives.len());
    drop(recorder);
    let me = unistd::getpid();
    let expected = format!("returned from spawn: {me}\n").repeat(lives.len()) + &format!("dropped by: {me}\n");
    assert_eq!(fs::read_to_string(&scratch.0).unwrap(), expected);
}

/// Appends to a file which process did something.
struct Recorder(PathBuf);

impl Recorder {
    fn record(&self, event: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.0).unwrap();
        writeln!(file, "{event} {}", unistd::getpid()).unwrap();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.record("dropped by:");
    }
}

/// A panic payload that panics when it is dropped.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("in the destructor of a panic payload");
    }
}

pub fn unflushed_stdout_is_written_once_by_the_parent() {
    let reaper = Reaper::new();
    let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let child = spawn(One(write), &[], |One(write), _| {
        unistd::dup2_stdout(&write).unwrap();
        io::stdout().write_all(b"no line feed ").unwrap();
        let grandchild = spawn(Empty, &[], |Empty, _| 0);
        assert_eq!(wait::waitpid(grandchild, None), Ok(WaitStatus::Exited(grandchild, 0)));
        io::stdout().flush().unwrap();
        0
    });
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    let mut written = String::new();
    File::from(read).read_to_string(&mut written).unwrap();
    assert_eq!(written, "no line feed ");
}

pub fn merged_sigchlds_report_each_child_once() {
    const CHILDREN: usize = 50;
    let reaper = Reaper::new();
    let sigchld: SigSet = [Signal::SIGCHLD].into_iter().collect();
    sigchld.thread_block().unwrap();
    let children: Vec<_> =
        (0..CHILDREN).map(|code| spawn(Empty, &[], move |Empty, _| code.try_into().unwrap())).collect();
    children.iter().copied().for_each(wait_until_ended);
    sigchld.thread_unblock().unwrap();
    assert_eq!(reaper.signals.drain(), 1, "the kernel merges all of them");
    let reaped: Vec<_> = std::iter::from_fn(process::reap).take(CHILDREN + 1).collect();
    let expected: BTreeMap<_, _> = children.into_iter().zip((0..).map(Exit::Code)).collect();
    assert_eq!(reaped.len(), CHILDREN);
    assert_eq!(BTreeMap::from_iter(reaped), expected);
}

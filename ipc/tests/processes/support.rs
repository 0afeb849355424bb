//! Helpers that several groups of tests share: links with text messages, handovers, the reaper, and /proc.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::panic;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use ipc::link::{Incoming, Link, MESSAGE_MAX, Message};
use ipc::process::{self, Exit, Handover, Pid};
use ipc::signals::{Signal, SignalSource};
use nix::sys::signal::SigSet;
use nix::sys::wait::{self, Id, WaitPidFlag};
use nix::unistd;

/// How long a test waits for an event that normally takes microseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Number of the first descriptor after the standard streams.
pub const FIRST_AFTER_STANDARD_STREAMS: RawFd = 3;

// ---- links -------------------------------------------------------------------------------------------------------

pub type TextLink = Link<Text, Text>;

#[derive(Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl Message for Text {
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize {
        packet[..self.0.len()].copy_from_slice(self.0.as_bytes());
        self.0.len()
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        Some(Self(str::from_utf8(packet).ok()?.to_owned()))
    }
}

pub fn pair() -> (TextLink, TextLink) {
    TextLink::pair().unwrap()
}

pub fn send(link: &TextLink, text: &str) {
    link.send(&Text(text.into())).unwrap();
}

/// Waits for the next message and asserts that it is `text`.
pub fn expect(link: &TextLink, text: &str) {
    assert_eq!(receive(link), Incoming::Message(Text(text.into())));
}

/// Waits for the next message or the end of the link.
pub fn receive(link: &TextLink) -> Incoming<Text> {
    assert!(is_ready(link, soon()), "nothing came over a link");
    link.receive().unwrap()
}

/// Waits for the next message, which is a pid.
pub fn receive_pid(link: &TextLink) -> Pid {
    let Incoming::Message(Text(pid)) = receive(link) else { panic!("the sender closed the link") };
    Pid::from_raw(pid.parse().unwrap())
}

// ---- handovers ---------------------------------------------------------------------------------------------------

/// A handover without descriptors.
pub struct Empty;

impl Handover for Empty {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}

/// A handover of one descriptor.
pub struct One<A>(pub A);

impl<A: AsFd + 'static> Handover for One<A> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd()]
    }
}

/// A handover of two descriptors.
pub struct Two<A, B>(pub A, pub B);

impl<A: AsFd + 'static, B: AsFd + 'static> Handover for Two<A, B> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd(), self.1.as_fd()]
    }
}

// ---- children ----------------------------------------------------------------------------------------------------

pub fn spawn<H: Handover>(handover: H, signals: &[Signal], run: impl FnOnce(H, SignalSource) -> u8 + 'static) -> Pid {
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 1, "a fork beside another thread");
    let mask = SigSet::thread_get_mask().unwrap();
    let child = process::spawn(handover, signals, run).unwrap();
    assert_eq!(SigSet::thread_get_mask().unwrap(), mask, "the fork has changed the signal mask of the parent");
    child
}

/// Waits for SIGCHLD and reaps. Create it before the first child.
pub struct Reaper {
    pub signals: SignalSource,
}

impl Reaper {
    pub fn new() -> Self {
        Self { signals: SignalSource::subscribe(&[Signal::SIGCHLD]).unwrap() }
    }

    /// Waits for the next child that ends.
    pub fn next(&self) -> (Pid, Exit) {
        loop {
            if let Some(ended) = process::reap() {
                return ended;
            }
            assert!(is_ready(&self.signals, soon()), "no child ended");
            self.signals.drain();
        }
    }

    /// Waits for `count` children to end.
    pub fn take(&self, count: usize) -> BTreeMap<Pid, Exit> {
        let ended: BTreeMap<_, _> = (0..count).map(|_| self.next()).collect();
        assert_eq!(ended.len(), count, "a child was reaped twice");
        ended
    }

    /// Kills `child` and reaps it. No other child may end meanwhile.
    pub fn kill(&self, child: Pid) {
        process::kill(child);
        assert_eq!(self.next(), (child, Exit::Killed(Signal::SIGKILL)));
    }
}

/// Waits until `child` has ended, and does not reap it.
pub fn wait_until_ended(child: Pid) {
    // nix cannot name a real-time signal and returns an error, but only after the wait.
    let _ = wait::waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
}

/// Keeps a child alive until a signal kills it.
pub fn sleep_forever() -> ! {
    loop {
        let _ = events::wait(&mut [], None);
    }
}

/// Children of this process that are not reaped.
pub fn children() -> Vec<Pid> {
    children_of(unistd::getpid())
}

/// Children of the main thread of `process` that are not reaped.
pub fn children_of(process: Pid) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    listed.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

// ---- waiting -----------------------------------------------------------------------------------------------------

pub fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

pub fn is_ready(fd: impl AsFd, deadline: Option<Instant>) -> bool {
    events::wait(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], deadline).unwrap() > 0
}

/// Waits for a state of another process that no descriptor reports.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

// ---- this process ------------------------------------------------------------------------------------------------

/// The open descriptors of this process, each with the target of its link in /proc.
pub fn open_descriptors() -> BTreeMap<RawFd, String> {
    let listed: Vec<RawFd> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    // The descriptor of the listed directory is closed now, and has no target.
    let target = |fd: &RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).ok()?.to_str().map(str::to_owned);
    listed.into_iter().filter_map(|fd| Some((fd, target(&fd)?))).collect()
}

/// Calls `call` while panics, also those of its children, print nothing.
pub fn without_panic_output<T>(call: impl FnOnce() -> T) -> T {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = call();
    panic::set_hook(hook);
    result
}

/// A path for one file of one test. Dropping it removes the file.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("ipc-processes-{}", unistd::getpid())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

//! Forking and reaping.
//!
//! Owns the fork, the choice of descriptors that a child keeps, and the list of children that are not reaped yet. The
//! parent process of a server uses it.
//!
//! Invariants:
//!
//! - This module knows nothing about the work of a child: it calls a closure, and reports how the process ended.
//! - A child never returns into the code of its parent.
//! - A child holds the standard streams, its [`Handover`] and its signal pipe, and no other descriptor.
//! - A child never lives longer than its parent.
//! - [`reap`] never blocks, and reports each child once.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{self, SigSet, SigmaskHow};
use nix::sys::wait::{self, Id, WaitPidFlag, WaitStatus};
pub use nix::unistd::Pid;
use nix::unistd::{self, ForkResult};

use crate::signals::{self, Signal, SignalSource};

/// Exit code of a child that panicked. It is the code of every Rust program whose main thread panics.
pub const PANICKED: u8 = 101;
/// Exit code of a child that ended before its closure ran: a system call of its setup failed, or its parent was dead.
pub const NOT_SET_UP: u8 = 102;
/// Number of the first descriptor after standard input, output and error, which stay open in every process.
const FIRST_AFTER_STANDARD_STREAMS: RawFd = 3;

/// Children of this process that [`reap`] has not reported yet.
static UNREAPED: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

/// The values that a parent hands over to a child.
///
/// # Trap: a destructor runs in the parent and in the child
///
/// The parent and the child each drop their copy of the handover. A `BufWriter` or a `csv::Writer` in it would flush
/// the same bytes twice. The destructor of a handover must only close descriptors.
///
/// The child does not drop the other values that it inherits, because [`spawn`] never returns in the child. But the
/// child ends by exit(3), which drops thread-locals and flushes `io::stdout`. A thread-local must therefore not write
/// anything when it is dropped, and `io::stdout` must be flushed before a fork.
pub trait Handover: 'static {
    /// Returns each descriptor that the child keeps. The standard streams stay open without being listed.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The process exited with this code.
    Code(i32),
    /// This signal killed the process.
    Killed(Signal),
    /// A real-time signal killed the process.
    ///
    /// # Trap: nix does not know real-time signals
    ///
    /// If a real-time signal killed a child, nix reaps the child but returns EINVAL, without the pid. [`reap`] then
    /// looks for the child among those that it has not reported yet: it is the one for which waitid(2) returns ECHILD.
    KilledByRealTimeSignal,
}

/// Forks a child that calls `run` and exits with the code that `run` returns. Returns the child's pid.
///
/// `handover` moves into the child: the parent's copy is dropped before this function returns. The child also gets a
/// new [`SignalSource`] for `signals` (see [the trap](crate::signals#trap-a-signal-pipe-survives-a-fork)). `run` cannot
/// borrow from the parent. If `run` panics, the child exits with [`PANICKED`].
///
/// # Trap: a fork copies only one thread
///
/// A lock that another thread holds during the fork, for example in the allocator, is never unlocked in the child.
/// Call this function only while the process has a single thread. A library that starts a thread (a TLS or database
/// client may do so) must start it in the child.
///
/// # Trap: a child outlives its parent
///
/// By default the kernel does not end a child when its parent dies. The child therefore asks the kernel for SIGKILL at
/// the death of its parent (`PR_SET_PDEATHSIG`). The parent may have died before this request, so the child then
/// compares getppid(2) with the pid of its parent. If they differ, the child exits with [`NOT_SET_UP`].
///
/// # Trap: a child inherits the links of earlier children
///
/// A child inherits the parent's ends of all links. As long as it keeps them open, the earlier children see no end of
/// stream, even after the parent has closed its ends. Close-on-exec has no effect without an exec. The child therefore
/// closes each descriptor that is not listed in [`Handover::descriptors`].
///
/// # Errors
/// Any error of fork(2): EAGAIN if there are too many processes, ENOMEM if memory is short. An error also drops
/// `handover`.
pub fn spawn<H, F>(handover: H, signals: &[Signal], run: F) -> io::Result<Pid>
where
    H: Handover,
    F: FnOnce(H, SignalSource) -> u8 + 'static,
{
    let parent = unistd::getpid();
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: the process has one thread, as the documentation demands. So no other thread holds a lock or has the
    // allocator in an intermediate state, and the child may call any function.
    let forked = unsafe { unistd::fork() };
    match forked {
        Ok(ForkResult::Child) => {
            let life = || match set_up(parent, &handover, signals, &mask) {
                Ok(source) => run(handover, source),
                Err(_) => NOT_SET_UP,
            };
            let code = panic::catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|payload| {
                // The destructor of the payload may panic as well, and would unwind into the parent's code.
                mem::forget(payload);
                PANICKED
            });
            std::process::exit(code.into());
        }
        Ok(ForkResult::Parent { child }) => {
            unreaped().insert(child);
            mask.thread_set_mask()?;
            Ok(child)
        }
        Err(e) => {
            mask.thread_set_mask()?;
            Err(e.into())
        }
    }
}

/// The first steps of a child, with all signals blocked. The last step restores `mask`.
fn set_up(parent: Pid, handover: &impl Handover, signals: &[Signal], mask: &SigSet) -> io::Result<SignalSource> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if unistd::getppid() != parent {
        return Err(io::Error::other("the parent is dead"));
    }
    unreaped().clear();
    signals::forget_inherited();
    close_all_but(&handover.descriptors())?;
    let source = SignalSource::subscribe(signals)?;
    mask.thread_set_mask()?;
    Ok(source)
}

/// The descriptors, besides the standard streams, with which this process was started: a shell or a build tool may have
/// left them open.
#[derive(Debug)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// Lists them. A program calls this first, before it opens any descriptor, and in its only thread.
    ///
    /// # Errors
    /// Any error of reading the directory `/proc/self/fd`, except that it does not exist. Without `/proc` the list is empty.
    pub fn list() -> io::Result<Self> {
        // The list contains the descriptor of the directory itself. It is closed already, and its number is used again.
        let is_open = |fd: &RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
        let listed = open_descriptors()?.into_iter().filter(|&fd| fd >= FIRST_AFTER_STANDARD_STREAMS);
        Ok(Self(listed.filter(is_open).collect()))
    }

    /// Closes them. Until then, the program can use a descriptor that it was given by its number, as `/dev/fd/3`.
    pub fn close(self) {
        for fd in self.0 {
            // A failure changes nothing: the descriptor is closed anyway.
            let _ = unistd::close(fd);
        }
    }
}

fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    for fd in open_descriptors()? {
        if fd >= FIRST_AFTER_STANDARD_STREAMS && kept.iter().all(|kept| kept.as_raw_fd() != fd) {
            // The list contains the descriptor of the directory itself, which is closed already: EBADF.
            let _ = unistd::close(fd);
        }
    }
    Ok(())
}

/// The open descriptors; without `/proc`, every number that a descriptor may have.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name.to_str().and_then(|name| name.parse().ok()).expect("/proc/self/fd lists only numbers")
    };
    match fs::read_dir("/proc/self/fd") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // The kernel allows no more by default (fs.nr_open), whatever the limit is.
            const MOST: RawFd = 1 << 20;
            let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
            Ok((0..RawFd::try_from(limit).map_or(MOST, |limit| limit.min(MOST))).collect())
        }
        entries => entries?.map(|entry| entry.map(number)).collect(),
    }
}

/// Reaps the next child that has ended. Returns `None` if no further child has ended. Never blocks.
///
/// # Trap: SIGCHLDs merge
///
/// The kernel delivers pending signals of one kind as one signal: ten children may end with one SIGCHLD. After each
/// SIGCHLD, call this function until it returns `None`.
pub fn reap() -> Option<(Pid, Exit)> {
    let (pid, exit) = loop {
        match wait::waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => break (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => break (pid, Exit::Killed(signal)),
            Err(Errno::EINVAL) => {
                if let Some(pid) = reaped_without_pid() {
                    break (pid, Exit::KilledByRealTimeSignal);
                }
            }
            Err(Errno::EINTR) => {}
            _ => return None,
        }
    };
    unreaped().remove(&pid);
    Some((pid, exit))
}

/// Finds the child of [`Exit::KilledByRealTimeSignal`].
fn reaped_without_pid() -> Option<Pid> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    unreaped().iter().copied().find(|&child| wait::waitid(Id::Pid(child), look) == Err(Errno::ECHILD))
}

/// Sends SIGKILL to a child. The child must not be reaped yet: afterwards the pid may belong to another process.
pub fn kill(child: Pid) {
    // kill(2) fails only if the child is already reaped, and the caller excludes this.
    let _ = signal::kill(child, Signal::SIGKILL);
}

/// Sends SIGCONT to a child, which continues if it is stopped. The child must not be reaped yet, as for [`kill`].
pub fn resume(child: Pid) {
    let _ = signal::kill(child, Signal::SIGCONT);
}

fn unreaped() -> MutexGuard<'static, BTreeSet<Pid>> {
    // A panic cannot leave the set half changed, so the set is valid even if the mutex is poisoned.
    UNREAPED.lock().unwrap_or_else(PoisonError::into_inner)
}

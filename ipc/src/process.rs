//! Forking and reaping.
//!
//! Owns the fork, and the steps of a new child. The parent process of a server uses it.
//!
//! Invariants:
//!
//! - This module knows nothing about the work of a child: it calls a closure, and reports how the process ended.
//! - A child never returns into the code of its parent.
//! - A child holds the standard streams, its [`Handover`] and its signal pipe, and no other descriptor.
//! - A child never lives longer than its parent.
//! - [`reap`] and [`reap_child`] never block, and report each child once.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::BorrowedFd;
use std::panic::{self, AssertUnwindSafe};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{self, SigSet, SigmaskHow};
pub use nix::unistd::Pid;
use nix::unistd::{self, ForkResult};

use crate::descriptors::close_all_but;
use crate::signals::{self, Signal, SignalSource};

/// Exit code of a child that panicked. It is the code of every Rust program whose main thread panics.
pub const PANICKED: u8 = 101;
/// Exit code of a child that ended before its closure ran: a system call of its setup failed, or its parent was dead.
pub const NOT_SET_UP: u8 = 102;

/// The values that a parent hands over to a child.
///
/// # Trap: a destructor runs in the parent and in the child
///
/// The parent and the child each drop their copy of the handover. A `BufWriter` or a `csv::Writer` in it would flush
/// the same bytes twice. The destructor of a handover must only close descriptors.
///
/// The child does not drop the other values that it inherits, because [`spawn`] never returns in the child. It ends by
/// _exit(2), which runs no exit handler, drops no thread-local and flushes no `io::stdout`: bytes that the parent has left
/// in such a buffer are written once, by the parent. A child must flush its own buffers before it returns from `run`.
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
    /// If a real-time signal killed a child, the functions of nix reap the child but return EINVAL, without the pid. So
    /// this module calls waitid(2) itself.
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
/// closes each descriptor that is not listed in [`Handover::descriptors`]. Both processes pay for each open descriptor of
/// the parent; [`crate::nursery`] avoids that.
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
    let forked = with_signals_blocked(|| {
        // SAFETY: the process has one thread, as the documentation demands. So no other thread holds a lock or has the
        // allocator in an intermediate state, and the child may call any function.
        match unsafe { unistd::fork() }? {
            ForkResult::Child => Ok(None),
            ForkResult::Parent { child } => Ok(Some(child)),
        }
    });
    match forked? {
        Forked::Parent(child) => Ok(child),
        Forked::Child(mask) => live(parent, &mask, handover, signals, run),
    }
}

/// The result of a fork.
pub(crate) enum Forked {
    /// In the parent: the child.
    Parent(Pid),
    /// In the child: the mask to set when the child has its own subscriptions. Until then, all signals are blocked.
    Child(SigSet),
}

/// Calls `fork` while all signals are blocked. It returns the pid of the child, or `None` in the child.
pub(crate) fn with_signals_blocked(fork: impl FnOnce() -> nix::Result<Option<Pid>>) -> io::Result<Forked> {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let forked = match fork() {
        Ok(None) => return Ok(Forked::Child(mask)),
        Ok(Some(child)) => Ok(Forked::Parent(child)),
        Err(e) => Err(e.into()),
    };
    mask.thread_set_mask()?;
    forked
}

/// The life of a new child, with its own table of descriptors, and all signals blocked.
pub(crate) fn live<H, F>(parent: Pid, mask: &SigSet, handover: H, signals: &[Signal], run: F) -> !
where
    H: Handover,
    F: FnOnce(H, SignalSource) -> u8 + 'static,
{
    let life = || match set_up(parent, &handover, signals, mask) {
        Ok(source) => run(handover, source),
        Err(_) => NOT_SET_UP,
    };
    let code = panic::catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|payload| {
        // The destructor of the payload may panic as well, and would unwind into the parent's code.
        mem::forget(payload);
        PANICKED
    });
    exit_at_once(code)
}

/// Ends this process, and runs nothing else in it.
pub(crate) fn exit_at_once(code: u8) -> ! {
    // SAFETY: _exit(2) never returns, and touches no memory of this process.
    unsafe { libc::_exit(code.into()) }
}

/// The first steps of a child, with all signals blocked. The last step restores `mask`.
fn set_up(parent: Pid, handover: &impl Handover, signals: &[Signal], mask: &SigSet) -> io::Result<SignalSource> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if unistd::getppid() != parent {
        return Err(io::Error::other("the parent is dead"));
    }
    signals::forget_inherited();
    close_all_but(&handover.descriptors())?;
    let source = SignalSource::subscribe(signals)?;
    mask.thread_set_mask()?;
    Ok(source)
}

/// Reaps the next child that has ended. Returns `None` if no further child has ended. Never blocks.
///
/// The kernel walks over all children to find one that has ended. A server with many children calls [`reap_child`] for
/// those that it expects to have ended, and this function only now and then.
///
/// # Trap: SIGCHLDs merge
///
/// The kernel delivers pending signals of one kind as one signal: ten children may end with one SIGCHLD. After each
/// SIGCHLD, look at each child that may have ended, or call this function until it returns `None`.
pub fn reap() -> Option<(Pid, Exit)> {
    wait(libc::P_ALL, 0)
}

/// Reaps this child if it has ended; returns `None` if it has not. Never blocks, and costs the same with many children. The
/// child must not be reaped yet: afterwards the pid may belong to another child.
pub fn reap_child(child: Pid) -> Option<Exit> {
    wait(libc::P_PID, child.as_raw().unsigned_abs()).map(|(_, exit)| exit)
}

fn wait(kind: libc::idtype_t, id: libc::id_t) -> Option<(Pid, Exit)> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is a valid place for the result.
    let call = || Errno::result(unsafe { libc::waitid(kind, id, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG) });
    if retried(call).is_err() {
        return None;
    }
    // SAFETY: zeroes are a valid value, and the kernel has replaced them if a child has ended. Then the pid and the status
    // are set.
    let (info, pid, status) = unsafe {
        let info = info.assume_init();
        (info, info.si_pid(), info.si_status())
    };
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        _ => Signal::try_from(status).map_or(Exit::KilledByRealTimeSignal, Exit::Killed),
    };
    (pid > 0).then(|| (Pid::from_raw(pid), exit))
}

/// Repeats a call that a signal has interrupted.
fn retried(mut call: impl FnMut() -> nix::Result<libc::c_int>) -> nix::Result<libc::c_int> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
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

//! Forking and reaping.
//!
//! Owns the fork, what a child inherits, and how its end is told. Used by the server's parent process; knows nothing of
//! what a child does.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{self, SigSet, SigmaskHow};
use nix::sys::wait::{self, Id, WaitPidFlag, WaitStatus};
pub use nix::unistd::Pid;
use nix::unistd::{self, ForkResult};

use crate::signals::{self, Signal, SignalSource};

/// Exit code of a child that panicked: what a Rust program that panics ends with.
pub const PANICKED: u8 = 101;
/// Exit code of a child that could not be set up, or whose parent was gone before it was tied to it.
pub const NOT_SET_UP: u8 = 102;
/// Standard input, output and error stay open in every process.
const FIRST_OWN_FD: RawFd = 3;

/// Children of this process that [`reap`] has not told of yet.
static UNREAPED: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

/// What a child is given by its parent: values that move into it, and the descriptors among them.
pub trait Handover: 'static {
    /// Every descriptor that the child keeps; it starts with no other, standard streams apart.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself, with this exit code.
    Code(i32),
    /// This signal ended it.
    Killed(Signal),
    /// A signal without a name ended it: a real-time one.
    KilledByRealTimeSignal,
}

/// Runs `run` in a forked child that ends with the code it returns; returns the child's pid.
///
/// The child owns `given` (the parent's copy is dropped when this returns), a fresh [`SignalSource`] for `signals`, and
/// nothing else: every other descriptor of the parent is closed before `run` starts, and as neither may borrow, neither
/// can reach what the parent holds. What else it avoids:
///
/// - a signal during the fork, which would be handled in the child with the parent's pipe: all are blocked around it;
/// - a child that outlives its parent: `PR_SET_PDEATHSIG` comes first, then the check that the parent is not gone yet;
/// - a child that returns into the parent's loop: it ends here, also by a panic ([`PANICKED`]). No destructor of the
///   parent's values runs in it, but exit(3) does: it destroys thread-locals, and writes what `io::stdout` still
///   buffers. So nothing that does more than close descriptors may be thread-local, and nothing unwritten be in it.
///
/// Call it from a single-threaded process: a lock that another thread holds at the fork stays locked in the child.
///
/// # Errors
/// What fork(2) reports: EAGAIN for too many processes, ENOMEM. `given` is dropped then, too.
pub fn spawn<G, F>(given: G, signals: &[Signal], run: F) -> io::Result<Pid>
where
    G: Handover,
    F: FnOnce(G, SignalSource) -> u8 + 'static,
{
    let parent = unistd::getpid();
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: the process has one thread (documented above, and the server starts none), so the child's copy of
    // every lock and of the allocator is in a state in which the one thread left it; it may call anything.
    let forked = unsafe { unistd::fork() };
    match forked {
        Ok(ForkResult::Child) => {
            let life = || match tie_and_shed(parent, &given, signals, &mask) {
                Ok(source) => run(given, source),
                Err(_) => NOT_SET_UP,
            };
            let code = panic::catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|payload| {
                // Its destructor may be anybody's, and a panic in it would unwind into the parent's code.
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

/// The child's first steps: dies with its parent, keeps its own descriptors, hears its own signals.
fn tie_and_shed(parent: Pid, given: &impl Handover, signals: &[Signal], mask: &SigSet) -> io::Result<SignalSource> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if unistd::getppid() != parent {
        return Err(io::Error::other("the parent is gone"));
    }
    unreaped().clear();
    signals::forget_inherited();
    close_all_but(&given.descriptors())?;
    let source = SignalSource::subscribe(signals)?;
    mask.thread_set_mask()?;
    Ok(source)
}

/// Closes every descriptor but the standard streams: for the very start of a program that may have been started with
/// more (a shell's, a build tool's), before it has opened any.
///
/// # Errors
/// What reading `/proc/self/fd` reports.
pub fn close_inherited() -> io::Result<()> {
    close_all_but(&[])
}

/// Trap: a later child inherits the parent's ends of earlier children's links, and so hides their end of stream.
/// Close-on-exec does not help, as nothing is executed.
fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let number = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
    let open: Vec<Option<RawFd>> = fs::read_dir("/proc/self/fd")?.map(number).collect::<io::Result<_>>()?;
    for fd in open.into_iter().flatten() {
        if fd >= FIRST_OWN_FD && kept.iter().all(|kept| kept.as_raw_fd() != fd) {
            // The directory itself was on the list and is closed already: EBADF.
            let _ = unistd::close(fd);
        }
    }
    Ok(())
}

/// The next child that has ended and was not yet reaped, if any. Never blocks.
///
/// Trap: the kernel merges SIGCHLDs, so call it until it returns `None`.
pub fn reap() -> Option<(Pid, Exit)> {
    let (pid, exit) = loop {
        match wait::waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => break (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => break (pid, Exit::Killed(signal)),
            Err(Errno::EINVAL) => {
                if let Some(pid) = reaped_namelessly() {
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

/// Trap: nix has no name for a real-time signal, and fails with EINVAL on a child that one killed, when the kernel has
/// forgotten that child already. It is the one that is no child of ours any more.
fn reaped_namelessly() -> Option<Pid> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    unreaped().iter().copied().find(|&child| wait::waitid(Id::Pid(child), look) == Err(Errno::ECHILD))
}

/// Sends SIGKILL to a child that has not been reaped yet (until then its pid is no other process's).
pub fn kill(child: Pid) {
    let _ = signal::kill(child, Signal::SIGKILL);
}

fn unreaped() -> MutexGuard<'static, BTreeSet<Pid>> {
    UNREAPED.lock().unwrap_or_else(PoisonError::into_inner)
}

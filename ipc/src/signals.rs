//! Signals as a descriptor to poll: it becomes readable when a signal arrives.
//!
//! Owns the signal subscriptions of this process. Event loops and [`crate::process::spawn`] use it.
//!
//! Invariants:
//!
//! - This module never acts on a signal. It reports deliveries, and the owner of the [`SignalSource`] decides.
//! - A subscribed signal stays blocked for ever. It runs no handler, so it interrupts no call.
//!
//! # Trap: a signal pipe survives a fork
//!
//! With a handler that writes into a pipe, a forked child inherits the handler and the parent's pipe. A SIGTERM for the
//! child would then wake the *parent*. signalfd(2) has no handler and no pipe: the kernel reports to a process that polls
//! or reads such a descriptor only the pending signals of this process. A signal that arrives before the child has its
//! descriptor stays pending, because the child inherits the parent's mask.
//!
//! epoll(7) is different: it reports the signals of the process that called epoll_ctl(2). A child must not use an
//! inherited epoll descriptor.
//!
//! # Trap: no signal interrupts a blocking call
//!
//! A subscribed signal is blocked, so a process that blocks in read(2) or flock(2) does not notice its SIGTERM. A process
//! must therefore poll its [`SignalSource`] together with all its other descriptors ([`crate::events`]), and must block in
//! no other call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::signalfd_siginfo;
pub use nix::sys::signal::Signal;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd;

/// Deliveries that one read(2) takes at most. The kernel merges the deliveries of a signal, so there are rarely more.
const DELIVERIES_A_READ: usize = 4;

/// A descriptor that is readable after one of its signals was delivered to this process. Dropping it ends the
/// subscription. The signals stay blocked, so they never get their default action back.
#[derive(Debug)]
pub struct SignalSource(SignalFd);

impl SignalSource {
    /// Receives `signals` from now on, also if the process was started with a mask that blocks them, or ignores them.
    ///
    /// # Errors
    /// Any error of signalfd(2), sigaction(2) or pthread_sigmask(3), for example EMFILE.
    pub fn subscribe(signals: &[Signal]) -> io::Result<Self> {
        let source = Self::of_blocked(signals)?;
        signals.iter().copied().collect::<SigSet>().thread_block()?;
        // The kernel reaps the children of a process that ignores SIGCHLD.
        signals.iter().try_for_each(|&signal| set_action(signal, SigHandler::SigDfl))?;
        Ok(source)
    }

    /// Receives `signals`, which are blocked already, or will be.
    pub(crate) fn of_blocked(signals: &[Signal]) -> io::Result<Self> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&signals.iter().copied().collect(), flags)?))
    }

    /// Returns the number of deliveries since the last call, and forgets them. Never blocks.
    ///
    /// The number is a lower bound: the kernel merges signals that are
    /// [pending together](crate::process::reap#trap-sigchlds-merge).
    pub fn drain(&self) -> usize {
        const DELIVERY: usize = size_of::<signalfd_siginfo>();
        let mut deliveries = 0;
        let mut taken = [0; DELIVERIES_A_READ * DELIVERY];
        loop {
            match unistd::read(&self.0, &mut taken) {
                Ok(len) => deliveries += len / DELIVERY,
                Err(Errno::EINTR) => continue,
                Err(_) => return deliveries,
            }
            if !deliveries.is_multiple_of(DELIVERIES_A_READ) {
                return deliveries;
            }
        }
    }
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ignores `signals`. Use it for SIGXFSZ: its default action kills the process, but a write(2) beyond the file-size limit
/// should return an error.
///
/// # Errors
/// Any error of sigaction(2).
pub fn disarm(signals: &[Signal]) -> io::Result<()> {
    signals.iter().try_for_each(|&signal| set_action(signal, SigHandler::SigIgn))
}

fn set_action(signal: Signal, action: SigHandler) -> io::Result<()> {
    // Without this flag, SIGCHLD would also report children that stop or continue.
    let action = SigAction::new(action, SaFlags::SA_NOCLDSTOP, SigSet::empty());
    // SAFETY: neither SIG_DFL nor SIG_IGN is a function that could run in the middle of another one.
    unsafe { signal::sigaction(signal, &action) }?;
    Ok(())
}

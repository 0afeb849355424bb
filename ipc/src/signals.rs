//! Signals as a descriptor to poll: a pipe that becomes readable when a signal arrives.
//!
//! Owns the signal subscriptions of this process. Event loops and [`crate::process::spawn`] use it.
//!
//! Invariants:
//!
//! - This module never acts on a signal. It reports deliveries, and the owner of the [`SignalSource`] decides.
//! - A delivery writes one byte into the pipe of this process, never into the pipe of another process.
//!
//! # Trap: a signal pipe survives a fork
//!
//! A forked child inherits the handlers and the write end of the parent's pipe. A SIGTERM for the child would then wake
//! the *parent*. So [`crate::process::spawn`] blocks all signals and forks. The child drops the inherited subscriptions,
//! subscribes to its own signals, and unblocks.
//!
//! # Trap: no signal interrupts a blocking call
//!
//! `signal-hook` installs its handlers with SA_RESTART, so the kernel restarts a read(2) or a flock(2) after the handler
//! has run: a process that blocks in one does not notice its SIGTERM. A process must therefore poll its [`SignalSource`]
//! together with all its other descriptors ([`crate::events`]), and must block in no other call.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
pub use nix::sys::signal::Signal;
use nix::sys::signal::{self, SigHandler, SigSet};
use nix::unistd;
use signal_hook::SigId;
use signal_hook::low_level;

/// All subscriptions of this process. A forked child drops the ones that it inherited.
static SUBSCRIPTIONS: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// A descriptor that is readable after one of its signals was delivered. Dropping it ends the subscription. The handlers
/// stay installed and then do nothing, so the signals never get their default action back.
#[derive(Debug)]
pub struct SignalSource {
    pipe: OwnedFd,
    ids: Vec<SigId>,
}

impl SignalSource {
    /// Handles `signals` from now on, and unblocks them: the process may have been started with a mask that blocks them, or
    /// has called [`block`]. A SIGHUP that the process ignores stays ignored: nohup(1) starts programs like that.
    ///
    /// # Errors
    /// Any error of pipe(2), sigaction(2) or pthread_sigmask(3), for example EMFILE.
    pub fn subscribe(signals: &[Signal]) -> io::Result<Self> {
        let (pipe, wake) = unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let mut source = Self { pipe, ids: Vec::with_capacity(signals.len()) };
        for &signal in signals.iter().filter(|&&signal| signal != Signal::SIGHUP || !is_ignored(signal)) {
            let id = low_level::pipe::register(signal as i32, wake.try_clone()?)?;
            source.ids.push(id);
            subscriptions().push(id);
        }
        signals.iter().copied().collect::<SigSet>().thread_unblock()?;
        Ok(source)
    }

    /// Returns the number of deliveries since the last call, and empties the pipe. Never blocks.
    ///
    /// The number is a lower bound: the kernel merges signals that are
    /// [pending together](crate::process::reap#trap-sigchlds-merge).
    pub fn drain(&self) -> usize {
        let mut deliveries = 0;
        let mut bytes = [0; 64];
        loop {
            match unistd::read(&self.pipe, &mut bytes) {
                Ok(0) => return deliveries,
                Ok(n) => deliveries += n,
                Err(Errno::EINTR) => {}
                Err(_) => return deliveries,
            }
        }
    }
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for SignalSource {
    fn drop(&mut self) {
        let mut all = subscriptions();
        for id in &self.ids {
            low_level::unregister(*id);
            all.retain(|other| other != id);
        }
    }
}

/// Handles `signals` and ignores them. Use it for SIGXFSZ: its default action kills the process, but a write(2) beyond
/// the file-size limit should return an error.
///
/// # Errors
/// Any error of sigaction(2).
pub fn disarm(signals: &[Signal]) -> io::Result<()> {
    for &signal in signals {
        signal_hook::flag::register(signal as i32, std::sync::Arc::default())?;
    }
    Ok(())
}

/// Ignores `signals`. A signal that is ignored has no effect on system calls: with SIGTTOU ignored, a process of the
/// background writes to a terminal that has `tostop` set. With a handler, the kernel would repeat that write for ever.
///
/// # Errors
/// Any error of sigaction(2).
pub fn ignore(signals: &[Signal]) -> io::Result<()> {
    for &signal in signals {
        // SAFETY: no handler is installed, so no code can run at a wrong moment.
        unsafe { signal::signal(signal, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Blocks `signals`: they stay pending until [`SignalSource::subscribe`] handles and unblocks them.
///
/// # Trap: process 1 loses signals that it does not handle
///
/// In a container the program is often process 1 of its namespace. The kernel drops a signal that such a process neither
/// handles nor blocks. So a SIGTERM before the subscription is lost, unless the process blocks it as its first step.
///
/// # Errors
/// Any error of pthread_sigmask(3).
pub fn block(signals: &[Signal]) -> io::Result<()> {
    Ok(signals.iter().copied().collect::<SigSet>().thread_block()?)
}

/// Whether this process ignores `signal`.
fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `action` is a valid place for the result, and zeroes are a valid value of it: the default action. The call
    // changes nothing, because no new action is given.
    let action = unsafe {
        libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Drops each subscription that a child inherited, and with it the write end of the parent's pipe.
pub(crate) fn forget_inherited() {
    for id in subscriptions().drain(..) {
        low_level::unregister(id);
    }
}

fn subscriptions() -> MutexGuard<'static, Vec<SigId>> {
    // A panic cannot leave the list half changed, so a poisoned lock is still good.
    SUBSCRIPTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

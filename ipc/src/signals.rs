//! Signals as something to poll: a pipe that becomes readable once per delivered signal.
//!
//! Owns the subscriptions of this process. Used by the event loops and by [`crate::process::spawn`]; knows nothing of
//! what a signal means.
//!
//! Trap: the pipe survives a fork. A handler that runs in the child would write into the parent's pipe and wake the
//! *parent*. So [`crate::process::spawn`] blocks all signals, forks, forgets every inherited subscription in the child
//! (`forget_inherited`), subscribes anew, and only then unblocks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
pub use nix::sys::signal::Signal;
use nix::unistd;
use signal_hook::SigId;
use signal_hook::low_level;

/// Every subscription alive in this process, so that a forked child can drop those that it inherited.
static SUBSCRIPTIONS: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// A pollable count of deliveries of some signals. Dropping it ends the subscription; the signals stay caught, without
/// effect.
#[derive(Debug)]
pub struct SignalSource {
    pipe: OwnedFd,
    ids: Vec<SigId>,
}

impl SignalSource {
    /// Catches `signals` from here on, and unblocks them, whatever mask the process was started with.
    ///
    /// # Errors
    /// What pipe(2), sigaction(2) or pthread_sigmask(3) report.
    pub fn subscribe(signals: &[Signal]) -> io::Result<Self> {
        let (pipe, wake) = unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let mut source = Self { pipe, ids: Vec::with_capacity(signals.len()) };
        for &signal in signals {
            let id = low_level::pipe::register(signal as i32, wake.try_clone()?)?;
            source.ids.push(id);
            subscriptions().push(id);
        }
        signals.iter().copied().collect::<SigSet>().thread_unblock()?;
        Ok(source)
    }

    /// How many deliveries came since the last call; 0 if none did. Never blocks.
    ///
    /// The kernel merges deliveries of one signal that are pending together, so this is a lower bound: whoever reaps
    /// on SIGCHLD must loop until there is nothing left to reap.
    pub fn drain(&self) -> usize {
        let mut deliveries = 0;
        let mut bytes = [0; 64];
        loop {
            match unistd::read(&self.pipe, &mut bytes) {
                Ok(0) => return deliveries,
                Ok(n) => deliveries += n,
                Err(nix::errno::Errno::EINTR) => {}
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

/// Catches `signals` and does nothing: for SIGXFSZ, whose default action kills where an error from write(2) is wanted.
///
/// # Errors
/// What sigaction(2) reports.
pub fn disarm(signals: &[Signal]) -> io::Result<()> {
    for &signal in signals {
        signal_hook::flag::register(signal as i32, std::sync::Arc::default())?;
    }
    Ok(())
}

/// Drops every subscription that a child inherited, and with each the write end of the parent's pipe.
pub(crate) fn forget_inherited() {
    for id in subscriptions().drain(..) {
        low_level::unregister(id);
    }
}

fn subscriptions() -> MutexGuard<'static, Vec<SigId>> {
    SUBSCRIPTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

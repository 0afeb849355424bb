//! The request to stop, and every wait of the client.
//!
//! Owns the subscription to SIGTERM and SIGINT. Used by everything in the agency that waits, so that a signal ends each
//! wait at once: it comes back as [`Error::Stopped`], and `?` carries it up past whatever has to be closed. Knows
//! nothing of what is waited for.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use ipc::signals::{Signal, SignalSource};

use super::error::Error;

/// Whether this process has been asked to stop.
#[derive(Debug)]
pub struct StopSignal {
    signals: SignalSource,
    requested: Cell<bool>,
}

impl StopSignal {
    /// From here on SIGTERM and SIGINT are requests.
    ///
    /// # Errors
    /// What pipe(2) or sigaction(2) report.
    pub fn subscribe() -> io::Result<Self> {
        Self::of(&[Signal::SIGTERM, Signal::SIGINT])
    }

    pub(super) fn of(signals: &[Signal]) -> io::Result<Self> {
        Ok(Self { signals: SignalSource::subscribe(signals)?, requested: Cell::new(false) })
    }

    /// For tests in which nobody is to stop: a signal that none of them sends.
    #[cfg(test)]
    pub(super) fn never() -> Self {
        Self::of(&[Signal::SIGWINCH]).unwrap()
    }

    /// Whether the request has come; costs one read(2) as long as it has not.
    pub fn requested(&self) -> bool {
        if self.signals.drain() > 0 {
            self.requested.set(true);
        }
        self.requested.get()
    }

    /// [`Error::Stopped`] if the request has come.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self) -> Result<(), Error> {
        if self.requested() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Waits until `fd` is ready for one of `events`, and tells for which; for none if `deadline` passes first.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Wait`] for what poll(2) reports.
    pub fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> Result<PollFlags, Error> {
        let mut fds = [self.watched(), PollFd::new(fd, events)];
        self.poll(&mut fds, deadline)?;
        Ok(fds[1].revents().unwrap_or(PollFlags::empty()))
    }

    /// Lets `length` pass.
    ///
    /// # Errors
    /// As [`StopSignal::wait`].
    pub fn pause(&self, length: Duration) -> Result<(), Error> {
        self.poll(&mut [self.watched()], Some(Instant::now() + length))
    }

    fn watched(&self) -> PollFd<'_> {
        PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)
    }

    /// The signals are the first of `fds`. A request that has been taken from there is still one.
    fn poll(&self, fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), Error> {
        if self.requested.get() {
            return Err(Error::Stopped);
        }
        events::wait(fds, deadline).map_err(Error::Wait)?;
        let signalled = fds.first().and_then(PollFd::any).unwrap_or(false);
        if signalled { self.check() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    /// That it passes is the failure: long enough not to be over before the signal, short enough to be waited for.
    const LONG: Duration = Duration::from_secs(2);

    #[test]
    fn a_signal_ends_the_wait_that_it_meets_and_every_later_one() {
        let stop = StopSignal::of(&[Signal::SIGUSR2]).unwrap();
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let soon = Some(Instant::now());
        assert!(stop.wait(one.as_fd(), PollFlags::POLLIN, soon).unwrap().is_empty());
        assert!(stop.wait(one.as_fd(), PollFlags::POLLOUT, None).unwrap().contains(PollFlags::POLLOUT));
        stop.pause(Duration::ZERO).unwrap();
        assert!(!stop.requested());
        raise(Signal::SIGUSR2).unwrap();
        assert!(matches!(stop.wait(one.as_fd(), PollFlags::POLLIN, None), Err(Error::Stopped)));
        assert!(matches!(stop.pause(LONG), Err(Error::Stopped)));
        assert!(stop.requested());
    }

    #[test]
    fn a_signal_that_somebody_has_asked_for_ends_the_waits_behind_that() {
        let stop = StopSignal::of(&[Signal::SIGALRM]).unwrap();
        raise(Signal::SIGALRM).unwrap();
        assert!(stop.requested());
        assert!(matches!(stop.pause(LONG), Err(Error::Stopped)));
    }
}

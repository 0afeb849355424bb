//! The request to stop (SIGTERM, SIGINT or SIGHUP), and all waits of the agency.
//!
//! Owns the subscription to these signals. Every module that waits uses it, so a signal ends each wait at once: the
//! wait returns [`Error::Stopped`], and `?` carries the error up through all values that must be closed. This module
//! does not know what the agency waits for.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use ipc::signals::{Signal, SignalSource};

use super::error::Error;
use crate::signals;

const KNOWN_EVENTS: &str = "poll(2) returns only requested events, errors and hang-ups";

/// Whether this process was asked to stop. A request stays set.
#[derive(Debug)]
pub struct StopSignal {
    signals: SignalSource,
    requested: Cell<bool>,
}

/// Readable after a request to stop, until [`StopSignal::requested`] has noticed it.
impl AsFd for StopSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl StopSignal {
    /// Treats [`signals::STOP`] as requests to stop from now on.
    ///
    /// # Errors
    /// The error of pipe(2) or sigaction(2).
    pub fn subscribe() -> io::Result<Self> {
        Self::of(&signals::STOP)
    }

    pub(super) fn of(signals: &[Signal]) -> io::Result<Self> {
        Ok(Self { signals: SignalSource::subscribe(signals)?, requested: Cell::new(false) })
    }

    /// For tests without a request to stop: subscribes to a signal that no test sends.
    #[cfg(test)]
    pub(super) fn never() -> Self {
        Self::of(&[Signal::SIGWINCH]).unwrap()
    }

    /// Whether the request has arrived. Until it has, each call costs one read(2).
    pub fn requested(&self) -> bool {
        if self.signals.drain() > 0 {
            self.requested.set(true);
        }
        self.requested.get()
    }

    /// Turns the request into an error.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the request has arrived.
    pub fn check(&self) -> Result<(), Error> {
        if self.requested() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Waits until `fd` is ready for one of `events`. Returns the events that occurred: none if `deadline` passed
    /// first.
    ///
    /// # Errors
    /// [`Error::Stopped`] after a request to stop; [`Error::Wait`] if poll(2) fails.
    pub fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> Result<PollFlags, Error> {
        let mut fds = [self.watched(), PollFd::new(fd, events)];
        self.poll(&mut fds, deadline)?;
        Ok(fds[1].revents().expect(KNOWN_EVENTS))
    }

    /// Waits for `length`.
    ///
    /// # Errors
    /// As [`StopSignal::wait`].
    pub fn pause(&self, length: Duration) -> Result<(), Error> {
        self.poll(&mut [self.watched()], Some(Instant::now() + length))
    }

    fn watched(&self) -> PollFd<'_> {
        PollFd::new(self.as_fd(), PollFlags::POLLIN)
    }

    /// Polls `fds`, whose first element is [`StopSignal::watched`]. A request that [`StopSignal::requested`] has
    /// already read from the pipe still counts.
    fn poll(&self, fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), Error> {
        if self.requested.get() {
            return Err(Error::Stopped);
        }
        events::wait(fds, deadline).map_err(Error::Wait)?;
        let signalled = fds[0].any().expect(KNOWN_EVENTS);
        if signalled { self.check() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    /// A test fails if this wait ends by itself: longer than a signal takes to arrive, short enough to wait for.
    const LONG: Duration = Duration::from_secs(2);

    #[test]
    fn signal_ends_the_current_wait_and_all_later_ones() {
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
    fn request_that_was_already_read_ends_later_waits() {
        let stop = StopSignal::of(&[Signal::SIGALRM]).unwrap();
        raise(Signal::SIGALRM).unwrap();
        assert!(stop.requested());
        assert!(matches!(stop.pause(LONG), Err(Error::Stopped)));
    }
}

//! The request to stop the `dataset` program: SIGTERM, SIGINT or SIGHUP.
//!
//! Owns the subscription. Used by [`super::agency_file`], between two pieces of a file, and by [`super::program`].

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use ipc::events::{self, PollFd, PollFlags};
use ipc::signals::SignalSource;

use crate::signals;

/// Whether the program was asked to stop. A request stays set.
#[derive(Debug)]
pub struct Stop(SignalSource);

impl Stop {
    /// Treats [`signals::STOP`] as requests to stop from now on.
    ///
    /// # Errors
    /// The error of pipe(2) or sigaction(2).
    pub fn subscribe() -> io::Result<Self> {
        SignalSource::subscribe(&signals::STOP).map(Self)
    }

    /// Whether the request has arrived.
    pub(super) fn is_requested(&self) -> bool {
        let mut request = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        matches!(events::wait(&mut request, Some(Instant::now())), Ok(1..))
    }

    /// Waits until `out` takes a line, or until the request arrives.
    pub(super) fn wait_for(&self, out: &impl AsFd) {
        let request = PollFd::new(self.0.as_fd(), PollFlags::POLLIN);
        let _ = events::wait(&mut [request, PollFd::new(out.as_fd(), PollFlags::POLLOUT)], None);
    }
}

/// A writer that fails after a request to stop.
pub(super) struct UntilStopped<'a, W> {
    pub(super) inner: W,
    pub(super) stop: &'a Stop,
}

impl<W: Write> Write for UntilStopped<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_requested() { Err(io::Error::other("stopped")) } else { self.inner.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

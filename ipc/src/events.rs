//! Waiting until descriptors are ready: [`wait`] (poll) for a few, [`Poller`] (epoll) for many.
//!
//! Owns the waits and their deadlines. Every event loop uses it.
//!
//! Invariants:
//!
//! - This module never reads, writes or closes a watched descriptor.
//! - A wait never ends before its deadline, except when a descriptor is ready. A deadline is an [`Instant`], because the
//!   wall clock may jump. Each interruption computes the timeout again, and rounds it up to whole milliseconds: a timeout
//!   that is rounded down to zero would make the loop spin.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{self, PollTimeout};
pub use nix::poll::{PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// Events that one epoll_wait(2) returns at most. The next call returns the others.
const EVENTS_PER_WAIT: usize = 64;
const NANOS_PER_MILLI: u128 = 1_000_000;

/// `POLLRDHUP`: the peer of a stream socket has closed its sending side. Bytes from before that may still be unread.
pub const HANGUP: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);

/// Waits until one of `fds` is ready or `deadline` has passed. Without a deadline it waits for ever. Returns the number
/// of ready descriptors: 0 means that the deadline has passed.
///
/// # Errors
/// Any error of poll(2) except EINTR.
pub fn wait(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        match poll::poll(fds, time_left(deadline)) {
            Err(Errno::EINTR) => {}
            Ok(0) if deadline.is_none_or(|d| Instant::now() < d) => {}
            other => return Ok(usize::try_from(other?).expect("poll(2) returns a count of descriptors")),
        }
    }
}

/// The caller's name for a descriptor that a [`Poller`] watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A set of watched descriptors, each with a [`Token`]. A wait costs O(ready), not O(watched).
///
/// # Trap: epoll watches open file descriptions
///
/// A closed descriptor is still reported if a child holds the same open file description. Call [`Poller::remove`] before
/// the close: afterwards it is impossible.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    /// Creates an empty set.
    ///
    /// # Errors
    /// Any error of epoll_create1(2), for example EMFILE.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); EVENTS_PER_WAIT] })
    }

    /// Reports `token` whenever `fd` can be read or its peer has closed.
    ///
    /// # Errors
    /// Any error of epoll_ctl(2): EEXIST if `fd` is already watched, EPERM for a regular file.
    pub fn watch_readable(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.0))?)
    }

    /// Reports `token` whenever `fd` can be written.
    ///
    /// # Errors
    /// Any error of epoll_ctl(2): EEXIST if `fd` is already watched, EPERM for a regular file, which is always ready.
    pub fn watch_writable(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLOUT, token.0))?)
    }

    /// Stops watching `fd`.
    ///
    /// # Errors
    /// Any error of epoll_ctl(2): ENOENT if `fd` is not watched.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until a descriptor is ready or `deadline` has passed. Without a deadline it waits for ever. Appends the
    /// tokens of the ready descriptors to `ready`.
    ///
    /// # Errors
    /// Any error of epoll_wait(2) except EINTR.
    pub fn wait(&mut self, deadline: Option<Instant>, ready: &mut Vec<Token>) -> io::Result<()> {
        loop {
            match self.epoll.wait(&mut self.events, time_left(deadline)) {
                Err(Errno::EINTR) => {}
                Ok(0) if deadline.is_none_or(|d| Instant::now() < d) => {}
                other => {
                    ready.extend(self.events[..other?].iter().map(|event| Token(event.data())));
                    return Ok(());
                }
            }
        }
    }
}

/// Returns the time until `deadline` in whole milliseconds, rounded up. Without a deadline it returns no timeout.
fn time_left(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now());
    // poll and epoll can wait for at most 24 days. A longer wait wakes early, and its loop waits again.
    PollTimeout::try_from(left.as_nanos().div_ceil(NANOS_PER_MILLI)).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn wait_ends_at_its_deadline_and_not_before() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_micros(2500);
        let mut fds = [PollFd::new(one.as_fd(), PollFlags::POLLIN)];
        assert_eq!(wait(&mut fds, Some(deadline)).unwrap(), 0);
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn poller_reports_ready_descriptors_until_they_are_removed() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.watch_writable(&one, Token(7)).unwrap();
        poller.watch_readable(&other, Token(8)).unwrap();
        let mut ready = Vec::new();
        poller.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [Token(7)]);
        poller.remove(&one).unwrap();
        ready.clear();
        poller.wait(Some(Instant::now()), &mut ready).unwrap();
        assert!(ready.is_empty());
    }
}

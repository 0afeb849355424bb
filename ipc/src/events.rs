//! Readiness: [`wait`] for a handful of descriptors (poll), [`Poller`] for a table of them (epoll).
//!
//! Owns timeouts: a deadline is an [`Instant`] (monotonic; the wall clock may jump), turned into a timeout anew after
//! every interruption and rounded up, so that a wait never ends early and spins. Used by every event loop; knows
//! nothing of what its descriptors mean.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{self, PollTimeout};
pub use nix::poll::{PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// Events taken from the kernel in one turn; more are taken in the next.
const EVENTS_A_TURN: usize = 64;

const NANOS_PER_MILLI: u128 = 1_000_000;

/// `POLLRDHUP`: the peer of a stream has ended its side, whatever is still unread in front of that.
pub const HANGUP: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);

/// Waits until one of `fds` is ready or `deadline` has passed (never, if `None`); returns how many are ready.
///
/// # Errors
/// What poll(2) reports besides EINTR.
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

/// Any set of descriptors, each under a token of the caller's choice; a wait costs O(ready), not O(watched).
///
/// Trap: epoll watches open file *descriptions*. One that a child still holds goes on reporting after its close here,
/// so a descriptor is taken out with [`Poller::remove`] before it is closed.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What epoll_create1(2) reports.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); EVENTS_A_TURN] })
    }

    /// Watches `fd` until it can be read (or is closed by its peer), reported as `token`.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports.
    pub fn watch_readable(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.0))?)
    }

    /// Watches `fd` until it can be written, reported as `token`.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports: EPERM for a regular file, which is always ready.
    pub fn watch_writable(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLOUT, token.0))?)
    }

    /// Watches `fd` no longer.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until something is ready or `deadline` has passed; the tokens that are ready are appended to `ready`.
    ///
    /// # Errors
    /// What epoll_wait(2) reports besides EINTR.
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

/// The time until `deadline` in whole milliseconds, rounded up; no timeout without a deadline.
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
    fn a_deadline_ends_the_wait_and_not_before() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_micros(2500);
        let mut fds = [PollFd::new(one.as_fd(), PollFlags::POLLIN)];
        assert_eq!(wait(&mut fds, Some(deadline)).unwrap(), 0);
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn the_poller_reports_what_is_ready_and_forgets_what_is_removed() {
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

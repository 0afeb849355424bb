//! The link between a child and its parent, taken from the child: a test plays an attacker who has taken over the child.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, send, sockopt,
};
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{descriptors, skipped, this_test};

/// Numbers of reports.
pub const CLAIM: u8 = 1;
pub const AWAIT_DRAW: u8 = 2;
pub const ENDED: u8 = 3;
pub const STORAGE_BROKEN: u8 = 4;
pub const LINES_LOST: u8 = 5;
pub const SLOT: u8 = 6;
pub const RELEASED: u8 = 8;

/// A copy of a child's end of its link.
pub struct StolenLink(OwnedFd);

impl StolenLink {
    /// `None` if descriptors of another process cannot be taken here, which has been reported.
    #[track_caller]
    pub fn of(child: i32) -> Option<Self> {
        let process = pidfd_open(Pid::from_raw(child).unwrap(), PidfdFlags::empty()).unwrap();
        let sockets = descriptors(child).into_iter().filter(|(_, target)| target.starts_with("socket:"));
        for (number, _) in sockets {
            match pidfd_getfd(process.as_fd(), number as ForeignRawFd, PidfdGetfdFlags::empty()) {
                Ok(socket) if is_link(&socket) => return Some(Self(socket)),
                Ok(_) => {}
                Err(e) => {
                    skipped(&this_test(), &format!("pidfd_getfd: {e}"));
                    return None;
                }
            }
        }
        panic!("child {child} has no link: {:?}", descriptors(child));
    }

    /// Sends a report.
    ///
    /// # Errors
    /// EAGAIN if the link is full, EPIPE if the parent has closed it.
    pub fn report(&self, kind: u8, number: u32) -> nix::Result<()> {
        let packet = [&[kind][..], &number.to_ne_bytes()].concat();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(self.0.as_raw_fd(), &packet, flags).map(drop)
    }

    /// Sends as many reports as the link takes in this time; returns how many it took.
    pub fn flood(&self, time: Duration, kind: u8, number: u32) -> u64 {
        let (deadline, mut sent) = (Instant::now() + time, 0);
        while Instant::now() < deadline {
            match self.report(kind, number) {
                Ok(()) => sent += 1,
                Err(Errno::EAGAIN) => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
        sent
    }
}

fn is_link(socket: &OwnedFd) -> bool {
    let own: SockaddrStorage = getsockname(socket.as_raw_fd()).unwrap();
    own.family() == Some(AddressFamily::Unix) && getsockopt(socket, sockopt::SockType).unwrap() == SockType::SeqPacket
}

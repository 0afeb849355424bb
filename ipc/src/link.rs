//! Typed messages between a parent and one child, over a Unix-domain socketpair.
//!
//! Owns the socketpair and the framing. Used by the message enums of the root crate, one a direction; knows nothing of
//! their content. Each end can send its own direction alone: the two type parameters are swapped at the other end.
//!
//! SOCK_SEQPACKET keeps message borders, so a message arrives whole or not at all, also from a peer that is killed
//! while it sends, and the end of stream is still seen.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType};

/// Most bytes of one message on a link.
pub const MESSAGE_MAX: usize = 16;

/// Something small that goes over a link as one packet.
pub trait Message: Sized {
    /// Writes itself to the front of `packet`; returns its length in bytes, 1 to [`MESSAGE_MAX`].
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize;

    /// The message that `packet` holds, or `None` where it holds none.
    fn decode(packet: &[u8]) -> Option<Self>;
}

/// What [`Link::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<In> {
    /// A message.
    Message(In),
    /// Nothing for now.
    Nothing,
    /// The other end is closed and everything it had sent has been taken.
    Closed,
}

/// One end of a link: sends `Out`, receives `In`. Never blocks. Dropping it closes it.
#[derive(Debug)]
pub struct Link<Out, In> {
    socket: OwnedFd,
    direction: PhantomData<fn(Out) -> In>,
}

impl<Out: Message, In: Message> Link<Out, In> {
    /// Two connected ends.
    ///
    /// # Errors
    /// What socketpair(2) reports, EMFILE for one.
    pub fn pair() -> io::Result<(Self, Link<In, Out>)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self::over(one), Link::over(other)))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// EPIPE or ECONNRESET where the other end is gone; EAGAIN where it has left hundreds of messages unread.
    pub fn send(&self, message: &Out) -> io::Result<()> {
        let mut packet = [0; MESSAGE_MAX];
        let len = message.encode(&mut packet);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match socket::send(self.socket.as_raw_fd(), &packet[..len], flags) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Takes one message, if there is one.
    ///
    /// Trap: an end that is closed with messages unread makes the other one's next recv(2) fail with ECONNRESET *once*,
    /// ahead of what the closing side had sent before. That is no end of stream: what was sent is still there.
    ///
    /// # Errors
    /// What recv(2) reports besides; `InvalidData` for a packet that is no message.
    pub fn receive(&self) -> io::Result<Incoming<In>> {
        let mut packet = [0; MESSAGE_MAX];
        // With MSG_TRUNC the length of a longer packet is told, which else would be cut to what may be a message.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        loop {
            match socket::recv(self.socket.as_raw_fd(), &mut packet, flags) {
                Ok(0) => return Ok(Incoming::Closed),
                Ok(len) => {
                    return packet
                        .get(..len)
                        .and_then(In::decode)
                        .map(Incoming::Message)
                        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown message on a link"));
                }
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(Errno::EAGAIN) => return Ok(Incoming::Nothing),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn over(socket: OwnedFd) -> Self {
        Self { socket, direction: PhantomData }
    }
}

impl<Out, In> AsFd for Link<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

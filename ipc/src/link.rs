//! Typed messages between a parent and one child, over a Unix-domain socketpair.
//!
//! Owns the socketpair and the framing. A program defines one [`Message`] enum for each direction. The type parameters
//! are swapped at the other end, so each end can send only the messages of its own direction.
//!
//! Invariants:
//!
//! - This module never interprets a message.
//! - A link never blocks: a full link is an error, and an empty link is [`Incoming::Nothing`].
//! - A message arrives whole or not at all, even if its sender is killed: SOCK_SEQPACKET keeps message borders and still
//!   reports the end of the stream.
//!
//! # Trap: the end of a link and SIGCHLD come in either order
//!
//! A child may close its link and live on. A child may also be reaped while its last messages are still unread.
//! The parent must therefore not take the end of a link for the end of the child. When it has reaped a child, it must
//! read the link until [`Incoming::Closed`] before it forgets the child.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType};

use crate::descriptors::park;

/// Maximum length of a message, in bytes.
pub const MESSAGE_MAX: usize = 16;

/// A small value that a link carries as one packet.
pub trait Message: Sized {
    /// Writes the message to the start of `packet`. Returns its length in bytes, 1 to [`MESSAGE_MAX`].
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize;

    /// Returns the message in `packet`, or `None` if the bytes are not a message.
    fn decode(packet: &[u8]) -> Option<Self>;
}

/// The result of [`Link::receive`].
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<In> {
    /// The next message.
    Message(In),
    /// No message has arrived yet.
    Nothing,
    /// The other end is closed, and all its messages have been received.
    Closed,
}

/// One end of a link: sends `Out`, receives `In`. Dropping it closes this end.
#[derive(Debug)]
pub struct Link<Out, In> {
    socket: OwnedFd,
    direction: PhantomData<fn(Out) -> In>,
}

impl<Out: Message, In: Message> Link<Out, In> {
    /// Creates a link and returns its two ends.
    ///
    /// # Errors
    /// Any error of socketpair(2), for example EMFILE.
    pub fn pair() -> io::Result<(Self, Link<In, Out>)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self::over(one), Link::over(other)))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// - EPIPE or ECONNRESET if the other end is closed. No SIGPIPE is raised.
    /// - EAGAIN if the link is full: the other end has not received hundreds of messages.
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

    /// Receives one message.
    ///
    /// # Trap: ECONNRESET before the last messages
    ///
    /// If the other end closes without having received all messages, the next recv(2) at this end fails *once* with
    /// ECONNRESET. The messages that the other end had sent are still in the queue. So this function calls recv(2) again.
    ///
    /// # Errors
    /// - `InvalidData` if the packet is not a message. The packet is consumed, and later messages can be received.
    /// - Any error of recv(2) except EINTR, EAGAIN and ECONNRESET.
    pub fn receive(&self) -> io::Result<Incoming<In>> {
        let mut packet = [0; MESSAGE_MAX];
        // MSG_TRUNC returns the full length of a packet that is too long. Without it, the first bytes of that packet could
        // be taken for a message.
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

    /// Moves this end to a high number, as [`park`] does.
    #[must_use]
    pub fn park(self) -> Self {
        Self::over(park(self.socket))
    }

    fn over(socket: OwnedFd) -> Self {
        Self { socket, direction: PhantomData }
    }
}

impl<Out, In> From<Link<Out, In>> for OwnedFd {
    fn from(link: Link<Out, In>) -> Self {
        link.socket
    }
}

impl<Out, In> AsFd for Link<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

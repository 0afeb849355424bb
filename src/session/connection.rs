//! The three things that a session waits for, together: its client, its parent, and a signal.
//!
//! Owns the client's socket, with or without TLS, the child's end of the link, and the signals. Used by the session. Knows no message.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::events::{self, HANGUP, PollFd, PollFlags};
use ipc::link::Incoming;
use ipc::signals::SignalSource;

use super::outcome::Close;
use crate::bet::AgencyId;
use crate::messages::{ChildEnd, Order};
use crate::tls::Wire;
use crate::tls::server::{self, Acceptor};

/// How long a closing connection goes on reading, so that no reset destroys its last answer.
const LINGER: Duration = Duration::from_secs(1);

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The socket is ready, or the client is gone.
    ClientReady,
    /// The parent sent an order other than [`Order::Stop`].
    Ordered(Order),
    /// The parent or a signal requested a stop. [`Connection::is_stopping`] is true from now on.
    StopRequested,
    /// The deadline passed.
    TimedOut,
}

/// A client and its parent, as one child sees them.
#[derive(Debug)]
pub struct Connection {
    client: Wire,
    link: Rc<ChildEnd>,
    signals: SignalSource,
    stopping: bool,
}

impl Connection {
    /// Takes over an accepted connection.
    pub fn new(client: TcpStream, link: Rc<ChildEnd>, signals: SignalSource) -> Self {
        Self { client: Wire::plain(client), link, signals, stopping: false }
    }

    /// The child's end of the link.
    pub fn link(&self) -> &Rc<ChildEnd> {
        &self.link
    }

    /// Whether a stop was requested: the current message is the last one.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The first unread byte, which stays unread; `None` if there is none.
    pub fn first_byte(&self) -> Option<u8> {
        self.client.peek()
    }

    /// Expects TLS from the first byte on.
    ///
    /// # Errors
    /// [`Close::Tls`] if the server's settings cannot be used.
    pub fn start_tls(&mut self, acceptor: &Acceptor) -> Result<(), Close> {
        self.client.start_tls(acceptor.accept()?);
        Ok(())
    }

    /// Whether the client speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.client.is_tls()
    }

    /// Whether a TLS handshake has begun and not ended.
    pub fn is_handshaking(&self) -> bool {
        self.client.is_handshaking()
    }

    /// Whether the end of the stream may hide missing bytes: TLS that ended without close_notify.
    pub fn is_truncated(&self) -> bool {
        self.client.is_truncated()
    }

    /// The agency that the client's certificate proves; `None` without TLS and during the handshake.
    pub fn agency(&self) -> Option<AgencyId> {
        server::agency(&self.client)
    }

    /// Reads the available bytes: `None` if there are none yet, 0 at the end of the stream.
    ///
    /// # Errors
    /// [`Close::PeerClosed`], [`Close::Tls`], [`Close::Failed`].
    pub fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Close> {
        Ok(self.client.read(into)?)
    }

    /// Sends all `bytes`, however slowly the client takes them, as long as it takes some within each `patience`.
    ///
    /// # Errors
    /// [`Close::Cut`], [`Close::PeerClosed`], [`Close::Tls`], [`Close::Failed`].
    pub fn send(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Close> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.client.write(&bytes[sent..])? {
                Some(len) => sent += len,
                None => self.wait_for_room(Instant::now() + patience)?,
            }
        }
        while self.client.wants_write() {
            self.wait_for_room(Instant::now() + patience)?;
            self.client.flush()?;
        }
        Ok(())
    }

    /// Waits for the client to be ready for `events` (`None`: not at all), an order, a stop, or the deadline. If several
    /// come together, a stop is returned first, then an order, then the client. Bytes that TLS has decrypted already make it
    /// ready for reading.
    ///
    /// # Errors
    /// [`Close::Failed`] if the parent is gone, or if poll(2) or recv(2) fails.
    pub fn wait(&mut self, events: Option<PollFlags>, deadline: Option<Instant>) -> Result<Wake, Close> {
        loop {
            let (is_ready, events) = if self.client.is_tls() { self.ready_by_tls(events) } else { (false, events) };
            let deadline = if is_ready { Some(Instant::now()) } else { deadline };
            let mut fds = [
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.client.as_fd(), events.unwrap_or(PollFlags::empty())),
            ];
            // poll(2) reports errors of every descriptor in the array, so the client's is left out if it does not matter.
            let watched = fds.len() - usize::from(events.is_none());
            if events::wait(&mut fds[..watched], deadline)? == 0 {
                return Ok(if is_ready { Wake::ClientReady } else { Wake::TimedOut });
            }
            // nix has no name for POLLRDHUP, and returns `None` for events that it cannot name.
            let [signal, order, client] = fds.map(|fd| fd.any().unwrap_or(true));
            if signal && self.signals.drain() > 0 {
                self.stopping = true;
                return Ok(Wake::StopRequested);
            }
            if order && let Some(wake) = self.next_order()? {
                return Ok(wake);
            }
            if client || is_ready {
                return Ok(Wake::ClientReady);
            }
        }
    }

    /// Ends this side of the stream, then reads and discards until the client has ended its own: closing with unread bytes
    /// sends a reset, which can destroy an answer that the client has not read yet.
    pub fn linger(&mut self) {
        let deadline = Instant::now() + LINGER;
        let mut discarded = [0; 4096];
        self.close_tls(deadline);
        self.client.end_tls();
        if self.client.shutdown().is_err() || (self.stopping && self.client.peek().is_none()) {
            return;
        }
        while Instant::now() < deadline {
            match self.wait(Some(PollFlags::POLLIN), Some(deadline)) {
                Ok(Wake::ClientReady) if !matches!(self.client.read(&mut discarded), Ok(Some(0)) | Err(_)) => {}
                // A stop may come twice: from a terminal and from the parent.
                Ok(Wake::StopRequested) if self.client.peek().is_some() => {}
                _ => return,
            }
        }
    }

    /// Ends this side of TLS, so that the client knows that no byte is missing. Nothing without TLS.
    pub fn close_tls(&mut self, deadline: Instant) {
        self.client.close();
        while self.client.wants_write() && self.wait_for_room(deadline).is_ok() && self.client.flush().is_ok() {}
    }

    /// Whether TLS makes the client ready for `events` now, and the events of the socket that matter otherwise.
    fn ready_by_tls(&self, events: Option<PollFlags>) -> (bool, Option<PollFlags>) {
        match events {
            Some(only) if only == HANGUP => (self.client.has_ended(), events),
            Some(events) if events.contains(PollFlags::POLLIN) => {
                let handshake = if self.client.wants_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
                (self.client.has_unread(), Some(events | handshake))
            }
            events => (false, events),
        }
    }

    fn wait_for_room(&mut self, deadline: Instant) -> Result<(), Close> {
        loop {
            match self.wait(Some(PollFlags::POLLOUT), Some(deadline))? {
                Wake::ClientReady => return Ok(()),
                Wake::StopRequested | Wake::Ordered(_) => {}
                Wake::TimedOut => return Err(Close::Cut("the client takes no byte of its answer")),
            }
        }
    }

    fn next_order(&mut self) -> Result<Option<Wake>, Close> {
        match self.link.next_order()? {
            Incoming::Message(Order::Stop) => {
                self.stopping = true;
                Ok(Some(Wake::StopRequested))
            }
            Incoming::Message(order) => Ok(Some(Wake::Ordered(order))),
            Incoming::Nothing => Ok(None),
            Incoming::Closed => Err(Close::Failed(io::Error::other("the parent is gone"))),
        }
    }
}

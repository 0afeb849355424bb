//! The three things that a session waits for, together: its client, its parent, and a signal.
//!
//! Owns the client's socket, with or without TLS, the child's end of the link, and the signals. Used by the session. Knows
//! no message.

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
use crate::messages::{ChildEnd, Cut, Dismissal, Order, Reason};
use crate::tls::Wire;
use crate::tls::server::{self, Acceptor};

/// How long a closing connection goes on reading, so that no reset destroys its last answer.
const LINGER: Duration = Duration::from_secs(1);
/// The same after an order to leave, which the parent enforces after 100 ms.
const SHORT_LINGER: Duration = Duration::from_millis(50);
/// How long a client must have been silent if its connection gives way to another one of the same agency.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a refusal waits for the parent's word whether it is to be logged. Then it is logged.
const WORD_PATIENCE: Duration = Duration::from_millis(200);

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The socket is ready, or the client is gone.
    ClientReady,
    /// The parent sent an order other than those that [`Connection::wait`] handles.
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
    /// The parent ordered to leave: no wait blocks any more.
    dismissed: Option<Dismissal>,
    /// When the client last sent a byte, or took one.
    heard: Instant,
}

impl Connection {
    /// Takes over an accepted connection.
    pub fn new(client: TcpStream, link: Rc<ChildEnd>, signals: SignalSource) -> Self {
        Self { client: Wire::plain(client), link, signals, stopping: false, dismissed: None, heard: Instant::now() }
    }

    /// The child's end of the link.
    pub fn link(&self) -> &Rc<ChildEnd> {
        &self.link
    }

    /// Whether a stop was requested: the current message is the last one.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The first unread byte, which stays unread; `None` if there is none yet.
    ///
    /// # Errors
    /// [`Close::PeerClosed`], [`Close::Failed`].
    pub fn first_byte(&self) -> Result<Option<u8>, Close> {
        let mut byte = [0];
        match self.client.peek(&mut byte)? {
            Some(0) => Err(Close::PeerClosed),
            read => Ok(read.map(|_| byte[0])),
        }
    }

    fn has_unread(&self) -> bool {
        matches!(self.first_byte(), Ok(Some(_)))
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
        let read = self.client.read(into)?;
        if read.is_some() {
            self.heard = Instant::now();
        }
        Ok(read)
    }

    /// Sends all `bytes`, however slowly the client takes them, as long as it takes some within each `patience`.
    ///
    /// # Errors
    /// [`Close::Cut`], [`Close::PeerClosed`], [`Close::Tls`], [`Close::Failed`].
    pub fn send(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Close> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.client.write(&bytes[sent..])? {
                Some(len) => (sent, self.heard) = (sent + len, Instant::now()),
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
    /// [`Close::Dismissed`] after [`Order::Leave`], unless the client is ready; [`Close::Replaced`] after [`Order::Yield`] if
    /// the wait is for the client, and the client is silent; [`Close::Failed`] if the parent is gone, or if poll(2) or
    /// recv(2) fails.
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
            let deadline = self.dismissed.map_or(deadline, |_| Some(Instant::now()));
            if events::wait(&mut fds[..watched], deadline)? == 0 {
                return match self.dismissed {
                    _ if is_ready => Ok(Wake::ClientReady),
                    Some(why) => Err(Close::Dismissed(why)),
                    None => Ok(Wake::TimedOut),
                };
            }
            // nix has no name for POLLRDHUP, and returns `None` for events that it cannot name.
            let [signal, order, client] = fds.map(|fd| fd.any().unwrap_or(true));
            if signal && self.signals.drain() > 0 {
                self.stopping = true;
                return Ok(Wake::StopRequested);
            }
            let silent = events.is_some() && !client && !is_ready && self.heard.elapsed() >= SILENCE;
            if order && let Some(wake) = self.next_order(silent)? {
                return Ok(wake);
            }
            if client || is_ready {
                return Ok(Wake::ClientReady);
            }
        }
    }

    /// Whether the refusal of the client for `reason` is to be logged, or the parent counts it. Without the parent's word it
    /// is logged. The connection closes after a refusal, so of the other orders only a stop and a dismissal matter.
    pub fn is_to_be_logged(&mut self, reason: Reason) -> bool {
        let deadline = Some(Instant::now() + WORD_PATIENCE);
        if self.link.report_refused(reason).is_err() {
            return true;
        }
        while let Ok(1..) = events::wait(&mut [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)], deadline) {
            match self.link.next_order() {
                Ok(Incoming::Message(Order::Count)) => return false,
                Ok(Incoming::Message(Order::Log) | Incoming::Closed) | Err(_) => return true,
                Ok(Incoming::Message(Order::Stop)) => self.stopping = true,
                Ok(Incoming::Message(Order::Leave(why))) => self.dismissed = Some(why),
                Ok(Incoming::Message(_) | Incoming::Nothing) => {}
            }
        }
        true
    }

    /// Ends this side of the stream, then reads and discards until the client has ended its own: closing with unread bytes
    /// sends a reset, which can destroy an answer that the client has not read yet.
    pub fn linger(&mut self) {
        let patience = self.dismissed.take().map_or(LINGER, |_| SHORT_LINGER);
        let deadline = Instant::now() + patience;
        let mut discarded = [0; 4096];
        self.close_tls(deadline);
        self.client.end_tls();
        if self.client.shutdown().is_err() || (self.stopping && !self.has_unread()) {
            return;
        }
        while Instant::now() < deadline {
            match self.wait(Some(PollFlags::POLLIN), Some(deadline)) {
                Ok(Wake::ClientReady) if !matches!(self.client.read(&mut discarded), Ok(Some(0)) | Err(_)) => {}
                // The parent's word on a refusal, which comes too late, or an answer that nothing waits for.
                Ok(Wake::Ordered(_)) => {}
                // A stop may come twice: from a terminal and from the parent.
                Ok(Wake::StopRequested) if self.has_unread() => {}
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
                Wake::TimedOut => return Err(Close::Cut(Cut::Unread)),
            }
        }
    }

    /// Takes the next order; `None` if there is none, or if it changes nothing for this client, `silent` or not.
    fn next_order(&mut self, silent: bool) -> Result<Option<Wake>, Close> {
        match self.link.next_order()? {
            Incoming::Message(Order::Stop) => {
                self.stopping = true;
                Ok(Some(Wake::StopRequested))
            }
            Incoming::Message(Order::Leave(why)) => {
                self.dismissed = Some(why);
                Ok(None)
            }
            Incoming::Message(Order::Yield) if silent => Err(Close::Replaced),
            Incoming::Message(Order::Yield) => Ok(None),
            Incoming::Message(order) => Ok(Some(Wake::Ordered(order))),
            Incoming::Nothing => Ok(None),
            Incoming::Closed => Err(Close::Failed(io::Error::other("the parent is gone"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use ipc::signals::Signal;

    use super::*;
    use crate::messages::{self, ParentEnd};

    fn connection() -> (Connection, ParentEnd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (parent, child) = messages::link().unwrap();
        (Connection::new(client, Rc::new(child), SignalSource::subscribe(&[Signal::SIGURG]).unwrap()), parent)
    }

    #[test]
    fn a_dismissed_refusal_still_waits_for_the_word() {
        let (mut connection, parent) = connection();
        parent.announce_draw().unwrap();
        parent.stop().unwrap();
        parent.dismiss(Dismissal::Room).unwrap();
        parent.count_refusal().unwrap();
        assert!(!connection.is_to_be_logged(Reason::Code(6)));
        assert!(connection.is_stopping());
        parent.count_refusal().unwrap();
        assert!(!connection.is_to_be_logged(Reason::Code(6)), "it has been dismissed before");
        assert!(matches!(connection.wait(None, None), Err(Close::Dismissed(Dismissal::Room))));
        parent.log_refusal().unwrap();
        assert!(connection.is_to_be_logged(Reason::Code(6)));
    }

    #[test]
    fn without_a_word_of_the_parent_a_refusal_is_logged() {
        let (mut connection, parent) = connection();
        assert!(connection.is_to_be_logged(Reason::Cut(Cut::Late)));
        drop(parent);
        assert!(connection.is_to_be_logged(Reason::Cut(Cut::Late)));
    }
}

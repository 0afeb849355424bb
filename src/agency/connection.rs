//! One TCP connection to the server, beside which signals are always heard.
//!
//! Owns the socket, what is still to be sent and what has come but is not yet understood. Used by the conversations
//! ([`super::delivery`], [`super::winners`], [`super::untyped`], [`super::echo`]); knows no message. The socket never
//! blocks: every wait is a poll over {socket, signals}, and while the server takes nothing of a batch its answer is
//! read all the same, for it may have refused already.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ipc::events::PollFlags;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};

use super::error::{Error, Lost, Question};
use super::resolve;
use super::stop::StopSignal;
use crate::event;
use crate::protocol::DecodeError;
use crate::tcp;

/// How long a server may take for an answer that it owes at once, or for taking some byte: as long as it gives a client
/// (its MESSAGE_TIMEOUT).
pub const SILENCE: Duration = Duration::from_secs(30);
/// How long one address may take to answer the first packet: two repetitions of it, after 1 s and 3 s, and some more.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes queued beyond which nothing is added before some have gone: eight full packets.
const ROOM: usize = 64 * 1024;
/// Bytes read at once: a few are usual, 16 kB of winners take one turn.
const CHUNK: usize = 16 * 1024;

/// How a connection is used, which decides how its closing is logged: always as an event, or only on a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// One of many, for a single exchange.
    Exchange,
    /// For a whole conversation.
    Conversation,
}

/// Where connections come from.
#[derive(Debug, Clone, Copy)]
pub struct Dialer<'a> {
    /// host:port.
    pub address: &'a str,
    /// What each connection is for.
    pub used_for: Use,
    /// The request to stop.
    pub stop: &'a StopSignal,
}

/// What takes a message from the front of bytes and tells its length, as the codecs of [`crate::protocol`] do.
pub type Decode<T> = fn(&[u8]) -> Result<(T, usize), DecodeError>;

/// An established connection.
#[derive(Debug)]
pub struct Connection<'a> {
    stream: TcpStream,
    peer: SocketAddr,
    dialer: Dialer<'a>,
    outgoing: Vec<u8>,
    sent: usize,
    incoming: Vec<u8>,
    taken: usize,
    /// Why nothing more will come; told once everything that came before has been taken.
    loss: Option<Lost>,
}

impl<'a> Dialer<'a> {
    /// Connects to the first address of the name that answers.
    ///
    /// # Errors
    /// [`Error::Lost`] with the last address's failure, [`Error::Stopped`].
    pub fn connect(self) -> Result<Connection<'a>, Error> {
        event!(Debug, "connect", in_progress, server_address = self.address);
        let mut failure = None;
        for peer in resolve::resolve(self.address, self.stop)? {
            match open(peer, self.stop) {
                Ok(stream) => return Ok(Connection::new(stream, peer, self)),
                Err(error @ Error::Lost(_)) => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        let none = || io::Error::new(ErrorKind::NotFound, "it has no address");
        Err(failure.unwrap_or_else(|| Lost::Resolve { address: self.address.to_owned(), source: none() }.into()))
    }
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, peer: SocketAddr, dialer: Dialer<'a>) -> Self {
        event!(Debug, "connect", success, server_address = dialer.address, ip = peer.ip());
        let (outgoing, incoming) = (Vec::new(), Vec::new());
        Self { stream, peer, dialer, outgoing, sent: 0, incoming, taken: 0, loss: None }
    }

    /// Where messages to be sent are put, at the end.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Whether more may be put there now; sends what can be sent to make room.
    pub fn has_room(&mut self) -> bool {
        if self.backlog() >= ROOM {
            self.flush();
        }
        self.loss.is_none() && self.backlog() < ROOM
    }

    /// What has come and is no whole message yet.
    pub fn unread(&self) -> &[u8] {
        &self.incoming[self.taken..]
    }

    /// Sends `question`, then waits for its answer; a server that is silent longer than `patience` is lost.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Malformed`], [`Error::Stopped`].
    pub fn ask<T>(&mut self, question: Question, patience: Option<Duration>, decode: Decode<T>) -> Result<T, Error> {
        loop {
            if let Some(answer) = self.step(question, patience, decode)? {
                return Ok(answer);
            }
        }
    }

    /// One step towards the answer to `question`: sends what can be sent, and returns the next message; if there is
    /// none yet, waits until some bytes move in either direction, once.
    ///
    /// # Errors
    /// As [`Connection::ask`]; a loss only when every message that came before it has been returned.
    pub fn step<T>(
        &mut self,
        question: Question,
        patience: Option<Duration>,
        decode: Decode<T>,
    ) -> Result<Option<T>, Error> {
        self.flush();
        if let Some(answer) = self.take(question, decode)? {
            return Ok(Some(answer));
        }
        if let Some(loss) = self.loss.take() {
            return Err(loss.into());
        }
        self.wait(patience)?;
        self.take(question, decode)
    }

    fn take<T>(&mut self, question: Question, decode: Decode<T>) -> Result<Option<T>, Error> {
        match decode(self.unread()) {
            Ok((answer, len)) => {
                self.taken += len;
                if self.taken == self.incoming.len() {
                    self.incoming.clear();
                    self.taken = 0;
                }
                Ok(Some(answer))
            }
            Err(DecodeError::Incomplete) => Ok(None),
            Err(DecodeError::Malformed(defect)) => Err(Error::Malformed { question, defect }),
        }
    }

    /// Sends as much as the socket takes. Where it breaks, what has already arrived is fetched first: it may be the
    /// reason.
    fn flush(&mut self) {
        while self.loss.is_none() && self.backlog() > 0 {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(len) => self.sent += len,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    while self.receive() {}
                    self.sent = self.outgoing.len();
                    self.loss = Some(Lost::Broken { peer: self.peer, source });
                }
            }
        }
        self.outgoing.drain(..self.sent);
        self.sent = 0;
    }

    /// Whether a question is not yet sent or an answer not yet complete: neither waits for anything but the peer.
    fn is_amid_something(&self) -> bool {
        self.backlog() > 0 || !self.unread().is_empty()
    }

    fn backlog(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    fn wait(&mut self, patience: Option<Duration>) -> Result<(), Error> {
        let takes = if self.backlog() > 0 { PollFlags::POLLOUT } else { PollFlags::empty() };
        let events = PollFlags::POLLIN | takes;
        let patience = patience.or(self.is_amid_something().then_some(SILENCE));
        let deadline = patience.map(|patience| Instant::now() + patience);
        let ready = self.dialer.stop.wait(self.stream.as_fd(), events, deadline)?;
        if ready.is_empty() {
            return Err(Lost::Silent { peer: self.peer, patience: patience.unwrap_or_default() }.into());
        }
        if ready != PollFlags::POLLOUT {
            self.receive();
        }
        Ok(())
    }

    /// Reads once; false if there was nothing, or will never be any more.
    fn receive(&mut self) -> bool {
        let mut chunk = [0; CHUNK];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.loss = Some(Lost::Closed { peer: self.peer }),
                Ok(len) => {
                    self.incoming.extend(&chunk[..len]);
                    return true;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(source) => self.loss = Some(Lost::Broken { peer: self.peer, source }),
            }
            return false;
        }
    }
}

impl Drop for Connection<'_> {
    /// The socket is closed with the fields, right behind this.
    fn drop(&mut self) {
        let address = self.dialer.address;
        if self.dialer.used_for == Use::Conversation || self.dialer.stop.requested() {
            event!(Info, "close_connection", success, server_address = address);
        } else {
            event!(Debug, "close_connection", success, server_address = address);
        }
    }
}

/// A stream to `peer` that does not block.
fn open(peer: SocketAddr, stop: &StopSignal) -> Result<TcpStream, Error> {
    let failed = |errno: Errno| Error::from(Lost::Connect { peer, source: errno.into() });
    let family = if peer.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(family, SockType::Stream, flags, None).map_err(failed)?;
    tcp::configure(&socket, SILENCE).map_err(failed)?;
    match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(peer)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let deadline = Instant::now() + CONNECT_PATIENCE;
    if stop.wait(socket.as_fd(), PollFlags::POLLOUT, Some(deadline))?.is_empty() {
        return Err(failed(Errno::ETIMEDOUT));
    }
    match socket::getsockopt(&socket, sockopt::SocketError).map_err(failed)? {
        0 => not_to_itself(socket.into(), peer),
        errno => Err(failed(Errno::from_raw(errno))),
    }
}

/// Trap: where nobody listens on a port of the ephemeral range of this machine, the kernel may connect a socket to
/// itself, sooner or later in a loop that tries again.
fn not_to_itself(stream: TcpStream, peer: SocketAddr) -> Result<TcpStream, Error> {
    match stream.local_addr() {
        Ok(own) if own == peer => Err(Lost::Connect { peer, source: Errno::ECONNREFUSED.into() }.into()),
        _ => Ok(stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::typed;
    use std::net::TcpListener;

    /// A connection to a peer that the test plays.
    fn pair(stop: &StopSignal) -> (Connection<'_>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let dialer = Dialer { address: "test", used_for: Use::Exchange, stop };
        let connection = Connection::new(open(peer, stop).unwrap(), peer, dialer);
        (connection, listener.accept().unwrap().0)
    }

    /// A socket with a port of its own, on which nobody listens.
    fn bound() -> TcpStream {
        let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(any)).unwrap();
        socket.into()
    }

    #[test]
    fn a_server_that_says_nothing_is_silent_after_the_patience() {
        let stop = StopSignal::never();
        let (mut connection, _peer) = pair(&stop);
        let patience = Some(Duration::from_millis(20));
        let error = connection.ask(Question::End, patience, typed::decode_answer).unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Silent { .. })), "{error}");
    }

    #[test]
    fn a_server_that_takes_nothing_is_silent_after_the_patience() {
        let stop = StopSignal::never();
        let (mut connection, _peer) = pair(&stop);
        // More than the two kernels' buffers hold.
        connection.outgoing().resize(64 * 1024 * 1024, 1);
        let patience = Some(Duration::from_millis(50));
        let error = connection.ask(Question::End, patience, typed::decode_answer).unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Silent { .. })), "{error}");
        assert!(!connection.has_room());
    }

    #[test]
    fn an_answer_is_read_while_the_server_takes_nothing() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        connection.outgoing().resize(64 * 1024 * 1024, 1);
        peer.write_all(&[2, 1]).unwrap();
        let answer = connection.ask(Question::End, None, typed::decode_answer).unwrap();
        assert_eq!(answer, crate::protocol::Answer::Confirmation(Err(crate::protocol::Code::InvalidBet)));
    }

    #[test]
    fn an_answer_may_be_waited_for_without_limit_but_not_the_rest_of_one() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        assert!(!connection.is_amid_something());
        peer.write_all(&[5, 0, 0]).unwrap();
        assert_eq!(connection.step(Question::Winners, None, typed::decode_answer).unwrap(), None);
        assert!(connection.is_amid_something());
    }

    #[test]
    fn what_arrived_before_the_end_is_returned_before_the_end() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        peer.write_all(&[2, 0, 4, 2]).unwrap();
        drop(peer);
        let mut ask = || connection.ask(Question::End, None, typed::decode_answer);
        assert!(ask().is_ok() && ask().is_ok());
        let error = ask().unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Closed { .. })), "{error}");
        assert_eq!(connection.unread(), [2]);
    }

    #[test]
    fn nobody_there_is_refused_and_may_pass() {
        let stop = StopSignal::never();
        let bound = bound();
        let taken = bound.local_addr().unwrap();
        let error = open(taken, &stop).unwrap_err();
        assert!(error.passes() && error.to_string().contains(&taken.to_string()), "{error}");
    }
    #[test]
    fn a_socket_that_the_kernel_connects_to_itself_is_no_connection() {
        let stream = bound();
        let own = stream.local_addr().unwrap();
        socket::connect(stream.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
        assert!(not_to_itself(stream, own).unwrap_err().passes());
    }
}

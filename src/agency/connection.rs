//! One TCP connection to the server, with or without TLS.
//!
//! Owns the socket, the bytes that are still to be sent, and the received bytes that are not yet decoded. Used by the
//! conversations ([`super::delivery`], [`super::winners`], [`super::untyped`], [`super::echo`]). Knows no message.
//!
//! The socket never blocks: every wait is a poll(2) over the socket and the signals. An answer is read even while the
//! server does not accept the rest of a batch, because the server may already have refused it.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipc::events::PollFlags;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use super::error::{Error, Lost};
use super::question::Question;
use super::resolve;
use super::socket;
use super::stop::StopSignal;
use crate::event;
use crate::protocol::DecodeError;
use crate::tls::client::{self, Connector};
use crate::tls::{Broken, Wire};

/// How long the server may take for an answer that it owes at once, or to accept a byte: as long as the server gives a
/// client (its MESSAGE_TIMEOUT).
pub const SILENCE: Duration = Duration::from_secs(30);
/// Limit of unsent bytes: beyond it no message is added until some bytes have been sent. Room for sixteen full packets.
const BACKLOG_MAX: usize = 128 * 1024;
/// Bytes of one read(2): most answers have a few bytes, 16 kB of winners take one read.
const READ_LEN: usize = 16 * 1024;

/// Opens connections to one server.
#[derive(Debug, Clone, Copy)]
pub struct Dialer<'a> {
    /// host:port.
    pub address: &'a str,
    /// Opens TLS; `None` without TLS.
    pub tls: Option<&'a Connector>,
    /// The request to stop.
    pub stop: &'a StopSignal,
}

/// Decodes the message at the start of some bytes, and returns it with its length, as the codecs of
/// [`crate::protocol`] do.
pub type Decode<T> = fn(&[u8]) -> Result<(T, usize), DecodeError>;

/// An established connection.
#[derive(Debug)]
pub struct Connection<'a> {
    wire: Wire,
    peer: SocketAddr,
    dialer: Dialer<'a>,
    outgoing: Vec<u8>,
    /// Bytes at the front of `outgoing` that are sent.
    sent: usize,
    /// Received bytes from `decoded` to `received`, and free space after them.
    incoming: Vec<u8>,
    decoded: usize,
    received: usize,
    /// Why no more bytes will arrive. Returned once everything that arrived before has been decoded.
    loss: Option<Error>,
}

impl<'a> Dialer<'a> {
    /// Connects to the first address of the name that answers.
    ///
    /// # Errors
    /// [`Error::Lost`] with the failure of the last address; [`Error::Tls`] if TLS cannot begin; [`Error::Stopped`] after a
    /// request to stop.
    pub fn connect(self) -> Result<Connection<'a>, Error> {
        event!(Debug, "connect", in_progress, server_address = self.address);
        let mut failure = None;
        for peer in resolve::resolve(self.address, self.stop)? {
            match socket::open(peer, SILENCE, self.stop) {
                Ok(stream) => return Connection::new(stream, peer, self),
                Err(error @ Error::Lost(_)) => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.expect("resolve returns at least one address"))
    }
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, peer: SocketAddr, dialer: Dialer<'a>) -> Result<Self, Error> {
        let mut wire = Wire::plain(stream);
        if let Some(tls) = dialer.tls {
            wire.start_tls(tls.connect().map_err(|broken| error_of(broken, peer))?);
        }
        event!(Debug, "connect", success, server_address = dialer.address, ip = peer.ip());
        let (outgoing, incoming) = (Vec::new(), Vec::new());
        Ok(Self { wire, peer, dialer, outgoing, sent: 0, incoming, decoded: 0, received: 0, loss: None })
    }

    /// The buffer of unsent bytes. Callers append messages.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Whether another message may be appended now. If the buffer is full, first sends as much as the socket accepts.
    pub fn has_room(&mut self) -> bool {
        if self.backlog() >= BACKLOG_MAX {
            self.flush();
        }
        self.loss.is_none() && self.backlog() < BACKLOG_MAX
    }

    /// From now on, closing this connection sends a reset: the client does not want the answer any more. After a normal
    /// close, the server could not know that, and would keep the query.
    pub fn reset_when_closed(&self) {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        // If it fails, the server notices the end later.
        let _ = setsockopt(&self.wire, sockopt::Linger, &at_once);
    }

    /// The received bytes that are not a whole message yet.
    pub fn undecoded(&self) -> &[u8] {
        &self.incoming[self.decoded..self.received]
    }

    /// Sends `question`, then waits for its answer. The connection is lost if the server is silent longer than
    /// `patience`; `None` waits without limit for the first byte of the answer.
    ///
    /// # Errors
    /// [`Error::Lost`] if the connection is lost; [`Error::Tls`] if TLS fails; [`Error::Malformed`] if the answer is not a message;
    /// [`Error::Stopped`] after a request to stop.
    pub fn ask<T>(&mut self, question: Question, patience: Option<Duration>, decode: Decode<T>) -> Result<T, Error> {
        loop {
            if let Some(answer) = self.step(question, patience, decode)? {
                return Ok(answer);
            }
        }
    }

    /// One step towards the answer to `question`: sends what the socket accepts, and returns the next message. Without
    /// a whole message, waits once until bytes move in either direction.
    ///
    /// # Errors
    /// As [`Connection::ask`]. A loss is returned only after every message that arrived before it.
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
            return Err(loss);
        }
        self.wait(patience)?;
        self.take(question, decode)
    }

    /// Discards the next `len` bytes as they arrive, without collecting them. The connection is lost if the server is
    /// silent longer than `patience`.
    ///
    /// # Errors
    /// [`Error::Lost`] if the connection is lost before; [`Error::Stopped`] after a request to stop.
    pub fn discard(&mut self, len: u64, patience: Duration) -> Result<(), Error> {
        let mut missing = len;
        loop {
            self.flush();
            let arrived = self.undecoded().len();
            let discarded = usize::try_from(missing).map_or(arrived, |missing| missing.min(arrived));
            self.decoded += discarded;
            missing -= discarded as u64;
            if missing == 0 {
                return Ok(());
            }
            if let Some(loss) = self.loss.take() {
                return Err(loss);
            }
            self.wait(Some(patience))?;
        }
    }

    /// The next message, if it has arrived. Neither sends nor waits.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the bytes that arrived are not a message.
    pub fn take<T>(&mut self, question: Question, decode: Decode<T>) -> Result<Option<T>, Error> {
        match decode(self.undecoded()) {
            Ok((answer, len)) => {
                self.decoded += len;
                Ok(Some(answer))
            }
            Err(DecodeError::Incomplete) => Ok(None),
            Err(DecodeError::Malformed(defect)) => Err(Error::Malformed { question, defect }),
        }
    }

    /// Sends as much as the socket accepts. If sending fails, first reads everything that has arrived: it may hold the
    /// server's reason.
    fn flush(&mut self) {
        while self.loss.is_none() && self.backlog() > 0 {
            match self.wire.write(&self.outgoing[self.sent..]) {
                Ok(Some(len)) => self.sent += len,
                Ok(None) => break,
                Err(broken) => self.cannot_send(broken),
            }
        }
        if self.loss.is_none()
            && let Err(broken) = self.wire.flush()
        {
            self.cannot_send(broken);
        }
        self.forget_sent();
    }

    /// The socket takes no more bytes.
    fn cannot_send(&mut self, broken: Broken) {
        while self.receive() > 0 {}
        self.sent = self.outgoing.len();
        // The server's own reason is better than that of the socket.
        let own = self.loss.take().filter(|loss| matches!(loss, Error::Tls { .. }));
        self.loss = Some(own.unwrap_or_else(|| error_of(broken, self.peer)));
    }

    /// Removes sent bytes from the buffer: at no cost once all are sent, otherwise as soon as fewer bytes must move than are
    /// removed.
    fn forget_sent(&mut self) {
        if self.sent > self.backlog() || self.backlog() == 0 {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether a handshake or a message is partly sent or partly received. Then the server must act within [`SILENCE`].
    fn is_mid_message(&self) -> bool {
        self.backlog() > 0 || self.wire.wants_write() || self.wire.is_handshaking() || !self.undecoded().is_empty()
    }

    fn backlog(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Waits until the socket is ready, and reads once if bytes arrived. Does not wait if TLS has decrypted some already.
    fn wait(&mut self, patience: Option<Duration>) -> Result<(), Error> {
        if self.wire.has_unread() {
            self.receive();
            return Ok(());
        }
        let is_waiting = self.backlog() > 0 || self.wire.wants_write();
        let writable = if is_waiting { PollFlags::POLLOUT } else { PollFlags::empty() };
        let patience = patience.or(self.is_mid_message().then_some(SILENCE));
        let deadline = patience.map(|patience| Instant::now() + patience);
        let ready = self.dialer.stop.wait(self.wire.as_fd(), PollFlags::POLLIN | writable, deadline)?;
        if let Some(patience) = patience.filter(|_| ready.is_empty()) {
            return Err(Lost::Silent { peer: self.peer, patience }.into());
        }
        if ready != PollFlags::POLLOUT {
            self.receive();
        }
        Ok(())
    }

    /// Reads once. Returns the number of bytes: 0 if none have arrived, or if the connection is lost. Only bytes that are
    /// not decoded yet stay in memory.
    fn receive(&mut self) -> usize {
        self.make_space();
        match self.wire.read(&mut self.incoming[self.received..]) {
            Ok(Some(0)) => self.loss = Some(self.end_of_stream()),
            Ok(Some(len)) => {
                self.received += len;
                return len;
            }
            Ok(None) => {}
            Err(broken) => self.loss = Some(error_of(broken, self.peer)),
        }
        0
    }

    /// The loss that the server's end of stream is. Without close_notify, bytes before it may be missing.
    fn end_of_stream(&self) -> Error {
        let peer = self.peer;
        let why = match (self.wire.is_handshaking(), self.wire.is_truncated()) {
            (true, _) => "it ended inside the TLS handshake",
            (false, true) => "it ended without close_notify",
            (false, false) => return Lost::Closed { peer }.into(),
        };
        Lost::Broken { peer, source: io::Error::new(ErrorKind::UnexpectedEof, why) }.into()
    }

    /// Moves the bytes that are not decoded yet to the front, and makes free space of [`READ_LEN`] bytes after them.
    fn make_space(&mut self) {
        self.incoming.copy_within(self.decoded..self.received, 0);
        self.received -= self.decoded;
        self.decoded = 0;
        if self.incoming.len() < self.received + READ_LEN {
            self.incoming.resize(self.received + READ_LEN, 0);
        }
    }
}

impl Drop for Connection<'_> {
    /// Ends TLS, and logs the closing. The socket itself is closed right after this, when the fields are dropped.
    fn drop(&mut self) {
        self.wire.close();
        event!(Info, "close_connection", success, server_address = self.dialer.address);
    }
}

/// The error for a broken connection to `peer`: only a failure of the socket is temporary.
fn error_of(broken: Broken, peer: SocketAddr) -> Error {
    match broken {
        Broken::Socket(source) => Lost::Broken { peer, source }.into(),
        Broken::Tls(e) => Error::Tls { peer, reason: client::reason(&e) },
        Broken::NotTls => {
            let reason =
                "it answered without TLS; unset tls.ca, tls.certificate and tls.key, or turn TLS on in the server";
            Error::Tls { peer, reason: reason.to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Answer, Code, typed};
    use std::io::Write;
    use std::net::TcpListener;

    /// More bytes than the socket buffers of both ends hold.
    const TOO_MANY: usize = 64 * 1024 * 1024;

    /// A connection to a peer that the test plays.
    fn pair(stop: &StopSignal) -> (Connection<'_>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let dialer = Dialer { address: "test", tls: None, stop };
        let connection = Connection::new(socket::open(peer, SILENCE, stop).unwrap(), peer, dialer).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    #[test]
    fn server_without_answer_is_lost_after_the_patience() {
        let stop = StopSignal::never();
        let (mut connection, _peer) = pair(&stop);
        let patience = Some(Duration::from_millis(20));
        let error = connection.ask(Question::End, patience, typed::decode_answer).unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Silent { .. })), "{error}");
    }

    #[test]
    fn server_that_does_not_read_is_lost_after_the_patience() {
        let stop = StopSignal::never();
        let (mut connection, _peer) = pair(&stop);
        connection.outgoing().resize(TOO_MANY, 1);
        let patience = Some(Duration::from_millis(50));
        let error = connection.ask(Question::End, patience, typed::decode_answer).unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Silent { .. })), "{error}");
        assert!(!connection.has_room());
    }

    #[test]
    fn answer_is_read_while_the_server_does_not_read() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        connection.outgoing().resize(TOO_MANY, 1);
        peer.write_all(&[2, 1]).unwrap();
        let answer = connection.ask(Question::End, None, typed::decode_answer).unwrap();
        assert_eq!(answer, Answer::Confirmation(Err(Code::InvalidBet)));
    }

    #[test]
    fn rest_of_an_answer_has_a_deadline_and_its_start_may_not() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        assert!(!connection.is_mid_message());
        peer.write_all(&[5, 0, 0]).unwrap();
        assert_eq!(connection.step(Question::Winners, None, typed::decode_answer).unwrap(), None);
        assert!(connection.is_mid_message());
    }

    #[test]
    fn discarded_bytes_are_not_collected_and_the_next_stay() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        let sender = std::thread::spawn(move || {
            peer.write_all(&vec![0; TOO_MANY]).unwrap();
            peer.write_all(&[2, 0]).unwrap();
        });
        connection.discard(TOO_MANY as u64, SILENCE).unwrap();
        assert!(connection.incoming.capacity() <= 4 * READ_LEN);
        sender.join().unwrap();
        assert!(connection.ask(Question::End, None, typed::decode_answer).is_ok());
        let error = connection.discard(1, SILENCE).unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Closed { .. })), "{error}");
    }

    #[test]
    fn silence_amid_discarded_bytes_is_a_loss() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        peer.write_all(&[0; 10]).unwrap();
        let error = connection.discard(11, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Silent { .. })), "{error}");
    }

    #[test]
    fn answers_before_the_close_are_returned_first() {
        let stop = StopSignal::never();
        let (mut connection, mut peer) = pair(&stop);
        peer.write_all(&[2, 0, 4, 2]).unwrap();
        drop(peer);
        let mut ask = || connection.ask(Question::End, None, typed::decode_answer);
        assert!(ask().is_ok() && ask().is_ok());
        let error = ask().unwrap_err();
        assert!(matches!(error, Error::Lost(Lost::Closed { .. })), "{error}");
        assert_eq!(connection.undecoded(), [2]);
    }
}

//! One side of a TLS connection over a socket that never blocks.
//!
//! Owns the state of TLS, and the bytes that are decrypted or encrypted and not yet moved: each at most some tens of kilobytes.
//! Used by [`super::wire`]. The socket is a parameter, so a fuzzer can play it.
//!
//! Trap: bytes may be decrypted already while the socket has none. Before a wait for the socket, the owner must look at
//! [`Stream::has_unread`].

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::{Connection, Error};

/// The first byte of a TLS connection: a record of type handshake.
pub const FIRST_BYTE: u8 = 0x16;
/// Most plaintext that waits for its encryption, and most encrypted bytes that wait for the socket.
const UNSENT_MAX: usize = 64 * 1024;
/// Most reads of the socket in one call: a client that sends records without content must not keep the caller from its
/// deadlines.
const READS_MAX: usize = 16;

/// The algorithms of both sides.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Why a connection cannot be used any more.
#[derive(Debug)]
pub enum Broken {
    /// The socket failed.
    Socket(io::Error),
    /// TLS failed.
    Tls(Error),
    /// The first byte of the peer is not one of TLS.
    NotTls,
}

impl From<io::Error> for Broken {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            // The only such error is that a message of the handshake is too long: no socket returns it.
            ErrorKind::InvalidData | ErrorKind::Other => Self::Tls(Error::General(e.to_string())),
            _ => Self::Socket(e),
        }
    }
}

/// How the peer ended its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has not.
    Open,
    /// With close_notify, so no byte before it is missing.
    Closed,
    /// Only the socket ended: bytes before it may be missing.
    Truncated,
}

/// The bytes that one look at the socket has found.
#[derive(Debug, PartialEq, Eq)]
enum Fetched {
    Bytes,
    Nothing,
    End,
}

/// One side of a TLS connection.
#[derive(Debug)]
pub struct Stream {
    tls: Connection,
    /// Decrypted bytes that nobody has read.
    unread: usize,
    end: End,
    /// A failure that is returned after the bytes before it.
    failure: Option<Error>,
    /// Whether the peer has sent a byte.
    has_begun: bool,
}

impl Stream {
    /// A connection whose handshake has not begun.
    pub(super) fn new(mut tls: Connection) -> Self {
        tls.set_buffer_limit(Some(UNSENT_MAX));
        Self { tls, unread: 0, end: End::Open, failure: None, has_begun: false }
    }

    /// Reads the available bytes: `None` if there are none yet, 0 at the end of the stream. Goes on with the handshake first.
    ///
    /// # Errors
    /// [`Broken`]. If TLS failed, the peer has been sent the reason as far as its socket takes it.
    pub fn read(&mut self, socket: &mut (impl Read + Write), into: &mut [u8]) -> Result<Option<usize>, Broken> {
        let mut len = self.take(into)?;
        for _ in 0..READS_MAX {
            if len == into.len() || self.end != End::Open || self.failure.is_some() {
                break;
            }
            match self.fetch(socket) {
                Ok(Fetched::Bytes) => len += self.take(&mut into[len..])?,
                Ok(Fetched::Nothing | Fetched::End) => break,
                Err(e) if len == 0 => return Err(e),
                // The socket returns its failure once, and then the end of the stream.
                Err(_) => break,
            }
        }
        match (len, self.failure.take(), self.end) {
            (0, Some(failure), _) => Err(Broken::Tls(failure)),
            (0, None, End::Open) => Ok(None),
            (len, failure, _) => {
                self.failure = failure;
                Ok(Some(len))
            }
        }
    }

    /// Takes over the front of `bytes`, and sends what the socket accepts; `None` if there is no room.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        self.flush(socket)?;
        let len = self.tls.writer().write(bytes)?;
        self.flush(socket)?;
        Ok((len > 0).then_some(len))
    }

    /// Sends what the socket accepts. [`Stream::wants_write`] is false afterwards if that was all.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Ends this side with close_notify, as far as the socket takes it.
    pub fn close(&mut self, socket: &mut impl Write) {
        self.tls.send_close_notify();
        // The peer may be gone.
        let _ = self.flush(socket);
    }

    /// Whether there are bytes for the socket.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Whether [`Stream::read`] returns something without a byte from the socket.
    pub fn has_unread(&self) -> bool {
        self.unread > 0 || self.end != End::Open || self.failure.is_some()
    }

    /// Whether the handshake has not ended.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether the peer has sent a byte.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the peer has ended its side.
    pub fn has_ended(&self) -> bool {
        self.end != End::Open
    }

    /// Whether the peer ended its side without close_notify: bytes before the end may be missing.
    pub fn is_truncated(&self) -> bool {
        self.end == End::Truncated
    }

    /// The peer's certificate, once the handshake has proved it.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates()?.first().filter(|_| !self.is_handshaking())
    }

    /// Moves decrypted bytes; returns their number.
    fn take(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        while self.unread > 0 && len < into.len() {
            let taken = self.tls.reader().read(&mut into[len..])?;
            self.unread = self.unread.saturating_sub(taken.max(1));
            len += taken;
        }
        Ok(len)
    }

    /// Reads the socket once, and decrypts. Nothing is unread before.
    fn fetch(&mut self, socket: &mut (impl Read + Write)) -> Result<Fetched, Broken> {
        let len = loop {
            match self.tls.read_tls(socket) {
                Ok(len) => break len,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.flush(socket)?;
                    return Ok(Fetched::Nothing);
                }
                Err(e) => return Err(e.into()),
            }
        };
        self.has_begun |= len > 0;
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.unread = state.plaintext_bytes_to_read();
                self.end = match (state.peer_has_closed(), len) {
                    (true, _) => End::Closed,
                    (false, 0) => End::Truncated,
                    (false, _) => End::Open,
                };
            }
            Err(e) => {
                self.failure = Some(e);
                // The reason for the peer, which may be gone.
                let _ = self.flush(socket);
                return Ok(Fetched::End);
            }
        }
        self.flush(socket)?;
        Ok(if len == 0 { Fetched::End } else { Fetched::Bytes })
    }
}

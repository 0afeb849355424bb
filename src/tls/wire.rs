//! A connected socket, plain or TLS: calls that never block.
//!
//! Owns the socket. Used by the server's sessions and by the agency, which set its options and wait for it themselves.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustls::pki_types::CertificateDer;

use super::stream::{Broken, FIRST_BYTE, Stream};

/// The first byte of a peer that refuses the handshake: a record of type alert.
const ALERT: u8 = 0x15;

/// A connected socket.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<Stream>>,
}

/// The socket for TLS. Trap: a TcpStream would send several records with writev(2), which a closed socket answers with a
/// signal, and which a sandbox may not allow.
struct OneByOne<'a>(&'a TcpStream);

impl Read for OneByOne<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for OneByOne<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Wire {
    /// Without TLS.
    pub fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// With TLS, from the next byte on.
    pub fn start_tls(&mut self, stream: Stream) {
        self.tls = Some(Box::new(stream));
    }

    /// Whether it is TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads the available bytes: `None` if there are none yet, 0 at the end of the stream.
    ///
    /// # Errors
    /// [`Broken::Socket`] with the error of recv(2); with TLS also [`Broken::Tls`], and [`Broken::NotTls`] if the peer does not
    /// speak TLS.
    pub fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Broken> {
        let Some(tls) = &mut self.tls else {
            return unless_blocked(|| (&self.socket).read(into)).map_err(Broken::Socket);
        };
        if !tls.has_begun() && !begins_tls(&self.socket) {
            return Err(Broken::NotTls);
        }
        tls.read(&mut OneByOne(&self.socket), into)
    }

    /// Takes over the front of `bytes`; `None` if there is no room. With TLS, [`Wire::wants_write`] says whether some of them
    /// are not sent yet.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        match &mut self.tls {
            None => unless_blocked(|| (&self.socket).write(bytes)).map_err(Broken::Socket),
            Some(tls) => tls.write(&mut OneByOne(&self.socket), bytes),
        }
    }

    /// Sends what the socket accepts of the bytes that were taken over.
    ///
    /// # Errors
    /// [`Broken::Socket`].
    pub fn flush(&mut self) -> Result<(), Broken> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => tls.flush(&mut OneByOne(&self.socket)).map_err(Broken::Socket),
        }
    }

    /// Whether bytes that were taken over are not sent yet.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether [`Wire::read`] returns something although the socket may have no byte.
    pub fn has_unread(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unread())
    }

    /// Whether the peer has ended its side of TLS, as far as its bytes were read.
    pub fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_ended())
    }

    /// Whether a handshake has not ended.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the end of the stream may hide missing bytes: TLS that ended without close_notify.
    pub fn is_truncated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_truncated())
    }

    /// The peer's certificate, once the handshake has proved it.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.as_ref()?.certificate()
    }

    /// The first byte that the peer has sent and that is still unread; it stays unread. As for [`Wire::read`], `None` if there
    /// is none yet, and 0 bytes at the end of the stream.
    ///
    /// # Errors
    /// The error of recv(2).
    pub fn peek(&self, byte: &mut [u8; 1]) -> io::Result<Option<usize>> {
        unless_blocked(|| self.socket.peek(byte))
    }

    /// Ends this side of TLS, as far as the socket takes the bytes. Nothing without TLS.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut OneByOne(&self.socket));
        }
    }

    /// From now on, reads the bytes of the socket as they are, only to discard them.
    pub fn end_tls(&mut self) {
        self.tls = None;
    }

    /// Ends this side of the stream.
    ///
    /// # Errors
    /// The error of shutdown(2).
    pub fn shutdown(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}

/// Whether the next byte, if one has arrived, can be that of a server that speaks TLS.
fn begins_tls(socket: &TcpStream) -> bool {
    let mut first = [FIRST_BYTE];
    let _ = unless_blocked(|| socket.peek(&mut first));
    [FIRST_BYTE, ALERT].contains(&first[0])
}

fn unless_blocked(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(len) => return Ok(Some(len)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

//! The client's socket: calls that never block. The server's listener sets the options of the socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// Reads the available bytes: `None` if there are none yet, 0 at the end of the stream.
///
/// # Errors
/// The error of recv(2).
pub fn read(mut client: &TcpStream, into: &mut [u8]) -> io::Result<Option<usize>> {
    unless_blocked(|| client.read(into))
}

/// Writes the bytes that fit into the send buffer; `None` if it is full.
///
/// # Errors
/// The error of send(2).
pub fn write(mut client: &TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
    unless_blocked(|| client.write(bytes))
}

/// Ends this side of the stream.
///
/// # Errors
/// The error of shutdown(2).
pub fn end_of_answers(client: &TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)
}

/// The first byte that the client has sent and that is still unread; it stays unread.
pub fn peek(client: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    matches!(unless_blocked(|| client.peek(&mut byte)), Ok(Some(1))).then_some(byte[0])
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

//! The client's socket: options, and calls that never block.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::tcp;

/// How long a peer may owe acknowledgements, unless a client may be slower by configuration.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of answers that the kernel keeps for a client. By itself it would keep megabytes, and tell of room only when a
/// third of them is gone: a client that takes its answer slowly would look like one that takes nothing.
const SEND_BUFFER: usize = 64 * 1024;

/// Sets what every connection needs.
pub fn configure(client: &TcpStream, message_timeout: Duration) -> io::Result<()> {
    client.set_nonblocking(true)?;
    setsockopt(client, sockopt::SndBuf, &SEND_BUFFER)?;
    Ok(tcp::configure(client, message_timeout.max(USER_TIMEOUT))?)
}

/// Reads what is there: `None` for nothing yet, 0 at the end of the stream.
pub fn read(mut client: &TcpStream, into: &mut [u8]) -> io::Result<Option<usize>> {
    unless_blocked(|| client.read(into))
}

/// Writes what fits: `None` for nothing now.
pub fn write(mut client: &TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
    unless_blocked(|| client.write(bytes))
}

/// Tells the client that no more answers come.
pub fn end_of_answers(client: &TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)
}

/// Whether the client has sent bytes that nobody has read.
pub fn has_unread(client: &TcpStream) -> bool {
    matches!(unless_blocked(|| client.peek(&mut [0])), Ok(Some(1)))
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

//! The client's socket: options, and calls that never block.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// Keepalive: a peer that has vanished without a word is found out within 10 s + 3 × 5 s.
const KEEPALIVE_IDLE_S: u32 = 10;
const KEEPALIVE_INTERVAL_S: u32 = 5;
const KEEPALIVE_PROBES: u32 = 3;
/// The same for a peer that owes acknowledgements, unless a client may be that slow by configuration.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sets what every connection needs. On loopback and in containers acknowledgements are small and waited for, so each
/// leaves at once (TCP_NODELAY).
pub fn configure(client: &TcpStream, message_timeout: Duration) -> io::Result<()> {
    client.set_nonblocking(true)?;
    client.set_nodelay(true)?;
    setsockopt(client, sockopt::KeepAlive, &true)?;
    setsockopt(client, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S)?;
    setsockopt(client, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_S)?;
    setsockopt(client, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    let user_timeout = u32::try_from(message_timeout.max(USER_TIMEOUT).as_millis()).unwrap_or(u32::MAX);
    setsockopt(client, sockopt::TcpUserTimeout, &user_timeout)?;
    Ok(())
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

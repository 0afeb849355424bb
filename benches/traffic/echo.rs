//! Connections that ask for one line, or with one message 6.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::agency::{connect, exchange};
use super::wire::{self, Framing};
use crate::floor::ECHO;

/// Whether the client sends its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The real server sends the line back.
    Sent,
    /// A floor answers without a question.
    NotSent,
}

/// For `length`: connects, asks for a line, and reads the answer to the end of the stream. Returns the number of
/// connections.
///
/// The server closes first. So this side keeps no port in TIME_WAIT, where it would be unusable for a minute.
pub fn echo(port: u16, line: Line, length: Duration) -> io::Result<u64> {
    let mut answer = Vec::new();
    again_for(length, || {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        if line == Line::Sent {
            server.write_all(ECHO)?;
        }
        answer.clear();
        server.read_to_end(&mut answer)?;
        if answer != ECHO {
            return Err(io::Error::other(format!("the answer is {answer:?}, not the line")));
        }
        Ok(())
    })
}

/// For `length`: connects, asks for the tally of `agency`, and waits until the server has closed its side. Returns the number
/// of connections.
pub fn tally(port: u16, agency: u32, length: Duration) -> io::Result<u64> {
    let query = wire::tally_query(agency);
    again_for(length, || {
        let mut server = connect(port)?;
        let _: [u8; wire::TALLY] = exchange(&mut server, query.bytes(Framing::Plain))?;
        server.shutdown(Shutdown::Write)?;
        match server.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::other("a byte follows the tally")),
        }
    })
}

/// Calls `once` until `length` is over. Returns the number of calls.
fn again_for(length: Duration, mut once: impl FnMut() -> io::Result<()>) -> io::Result<u64> {
    let end = Instant::now() + length;
    let mut count = 0;
    while Instant::now() < end {
        once()?;
        count += 1;
    }
    Ok(count)
}

//! Connections that ask for one line.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

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
    let end = Instant::now() + length;
    let mut count = 0;
    let mut answer = Vec::new();
    while Instant::now() < end {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        if line == Line::Sent {
            server.write_all(ECHO)?;
        }
        answer.clear();
        server.read_to_end(&mut answer)?;
        if answer != ECHO {
            return Err(io::Error::other(format!("the answer is {answer:?}, not the line")));
        }
        count += 1;
    }
    Ok(count)
}

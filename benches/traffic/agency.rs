//! The minimal client: an agency that sends a batch after the acknowledgement of the previous one. Its messages are
//! encoded before the measurement starts.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::wire::{self, Frame, Framing};

/// Longest wait for an answer: a longer one is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// The messages of one agency.
pub struct Agency {
    id: u32,
    batches: Vec<Frame>,
    /// Number of bets in all batches.
    pub bets: usize,
}

/// Points in time of an agency's conversation.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Before it connects.
    pub start: Instant,
    /// Its last batch with bets is acknowledged.
    pub stored: Instant,
    /// It has received its winners.
    pub answered: Instant,
}

impl Agency {
    /// The agency `id`, with batches of at most `most` of its `bets`, which are encoded.
    pub fn new(id: u32, bets: &[Vec<u8>], most: u8) -> Self {
        Self { id, batches: wire::batches(id, bets, most), bets: bets.len() }
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Number of bytes that a floor stores.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes(Framing::Prefixed).len()).sum()
    }

    /// Runs the whole conversation, with `repeat` repetitions of the bets.
    pub fn play(&self, (port, framing): (u16, Framing), repeat: u32) -> io::Result<Times> {
        let start = Instant::now();
        let mut server = connect(port)?;
        for batch in (0..repeat).flat_map(|_| &self.batches) {
            store(&mut server, batch.bytes(framing))?;
        }
        let stored = Instant::now();
        store(&mut server, wire::end(self.id).bytes(framing))?;
        let header = exchange(&mut server, wire::winners_query(self.id).bytes(framing))?;
        let documents = u64::from(wire::winners(header)?) * wire::DOCUMENT as u64;
        let read = io::copy(&mut (&mut server).take(documents), &mut io::sink())?;
        let whole = (read == documents).then_some(Times { start, stored, answered: Instant::now() });
        whole.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Connects to the server at `port`.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    server.set_nodelay(true)?;
    server.set_read_timeout(Some(PATIENCE))?;
    Ok(server)
}

/// Sends `message`. Returns the answer, which has `N` bytes.
pub fn exchange<const N: usize>(server: &mut TcpStream, message: &[u8]) -> io::Result<[u8; N]> {
    server.write_all(message)?;
    let mut answer = [0; N];
    server.read_exact(&mut answer)?;
    Ok(answer)
}

fn store(server: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    match exchange(server, message)? {
        wire::ACKNOWLEDGEMENT => Ok(()),
        answer => Err(io::Error::other(format!("the answer is {answer:?}, not an acknowledgement"))),
    }
}

//! The conversations of the clients, over blocking sockets.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use loteria::agency::batches::Batches;
use loteria::agency::reader::Reader;
use loteria::agency::stop::StopSignal;
use loteria::bet::AgencyId;
use loteria::protocol::typed;

use super::side::Side;
use crate::Result;
use crate::floor;

/// Most bets in a batch: as many as the assignment's 8 kB hold.
const BATCH: u8 = 99;

/// The messages of one agency, encoded before the measurement starts.
pub struct Agency {
    id: AgencyId,
    /// Frames: messages after their length.
    batches: Vec<Vec<u8>>,
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
    /// Reads `path`, the file of the agency `id`.
    pub fn load(id: u32, path: &Path, stop: &StopSignal) -> Result<Self> {
        let id = AgencyId::new(id).ok_or("0 is not an agency")?;
        let reader = Reader::open(id, path, stop)?;
        let mut file = Batches::new(reader, BATCH);
        let mut agency = Self { id, batches: Vec::new(), bets: 0 };
        let mut message = Vec::new();
        while let Some(count) = file.fill(typed::start_batch(&mut message, id))? {
            agency.bets += usize::from(count.get());
            agency.batches.push(frame(&message));
            message.clear();
        }
        Ok(agency)
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Number of bytes that the floor stores.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// Runs the whole conversation, with `repeat` repetitions of the file. Each batch is sent after the acknowledgement
    /// of the previous one.
    pub fn play(&self, port: u16, side: Side, repeat: u32) -> io::Result<Times> {
        let start = Instant::now();
        let mut server = connect(port)?;
        let stored = self.send_bets(&mut server, side, repeat)?;
        self.send_end_and_query(&mut server, side)?;
        await_winners(&mut server)?;
        Ok(Times { start, stored, answered: Instant::now() })
    }

    /// Runs the conversation up to the query for the winners. Does not wait for the answer, and returns the connection.
    pub fn play_and_wait(&self, port: u16, side: Side) -> io::Result<TcpStream> {
        let mut server = connect(port)?;
        self.send_bets(&mut server, side, 1)?;
        self.send_end_and_query(&mut server, side)?;
        Ok(server)
    }

    fn send_bets(&self, server: &mut TcpStream, side: Side, repeat: u32) -> io::Result<Instant> {
        for _ in 0..repeat {
            for batch in &self.batches {
                send(server, side, batch)?;
            }
        }
        Ok(Instant::now())
    }

    fn send_end_and_query(&self, server: &mut TcpStream, side: Side) -> io::Result<()> {
        send(server, side, &frame(&typed::encode_end(self.id)))?;
        server.write_all(&frame(&typed::encode_winners_query(self.id))[side.skipped()..])
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("a message has at most 8000 bytes");
    [&len.to_be_bytes(), message].concat()
}

/// Connects to the server at `port`.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    server.set_nodelay(true)?;
    Ok(server)
}

fn send(server: &mut TcpStream, side: Side, frame: &[u8]) -> io::Result<()> {
    let answer: [u8; 2] = exchange(server, &frame[side.skipped()..])?;
    if answer == [2, 0] {
        Ok(())
    } else {
        Err(io::Error::other(format!("the answer is {answer:?}, not an acknowledgement")))
    }
}

/// Sends `message`. Returns the answer, which has `N` bytes.
pub fn exchange<const N: usize>(server: &mut TcpStream, message: &[u8]) -> io::Result<[u8; N]> {
    server.write_all(message)?;
    let mut answer = [0; N];
    server.read_exact(&mut answer)?;
    Ok(answer)
}

fn await_winners(server: &mut TcpStream) -> io::Result<()> {
    let mut header = [0; 5];
    server.read_exact(&mut header)?;
    let [message_type, count @ ..] = header;
    if message_type != 5 {
        return Err(io::Error::other(format!("the query was answered with message {message_type}")));
    }
    let documents = u64::from(u32::from_be_bytes(count)) * size_of::<u32>() as u64;
    let read = io::copy(&mut server.take(documents), &mut io::sink())?;
    if read == documents { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// For `length`: connects, sends a line, and reads the answer to the end of the stream. Returns the number of
/// connections.
///
/// The server closes first. So this side keeps no port in TIME_WAIT, where it would be unusable for a minute.
pub fn echo(port: u16, length: Duration) -> io::Result<u64> {
    let end = Instant::now() + length;
    let mut count = 0;
    let mut answer = Vec::new();
    while Instant::now() < end {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        server.write_all(floor::ECHO)?;
        answer.clear();
        server.read_to_end(&mut answer)?;
        if answer != floor::ECHO {
            return Err(io::Error::other(format!("the echo is {answer:?}, not the line that was sent")));
        }
        count += 1;
    }
    Ok(count)
}

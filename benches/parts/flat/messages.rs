//! The messages of a round, encoded before the measurement starts, and their times.

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use crate::process::{children_of, processor_time};
use crate::report::Quartiles;
use crate::traffic::wire::{self, Frame, Framing};
use crate::traffic::{connect, exchange};

/// Number of queries in a round, and of batches.
pub const REPETITIONS: u32 = 200;
/// Number of bets in a batch. One of them wins.
const BETS: u32 = 100;

/// The messages of a round.
pub struct Messages {
    query: Frame,
    batch: Frame,
    /// Query and end of another agency.
    ending: [Frame; 2],
}

impl Messages {
    /// The agency `sender` sends queries and batches, and the agency `ending` ends.
    pub fn of(sender: u32, ending: u32) -> Self {
        Self {
            query: wire::tally_query(sender),
            batch: wire::batch(sender, &wire::made_up_bets(BETS)),
            ending: [wire::tally_query(ending), wire::end(ending)],
        }
    }

    /// Sends each message after the answer to the previous one. Returns times in µs: the medians of the queries and of
    /// the batches, the time of the end, and the processor time that its child needs for it. Most of the time of an end
    /// is that of the disk. `bets_file` is synced before the end, which otherwise syncs the batches, too.
    pub fn times(&self, (port, pid): (u16, u32), bets_file: &Path) -> io::Result<[f64; 4]> {
        let mut server = connect(port)?;
        let mut ask = |query| expect::<{ wire::TALLY }>(7, exchange(&mut server, query)?);
        let query = self.query.bytes(Framing::Plain);
        // This query also claims the agency.
        ask(query)?;
        let queries = repeat(|| ask(query))?;
        let batch = self.batch.bytes(Framing::Plain);
        let batches = repeat(|| expect(2, exchange::<2>(&mut server, batch)?))?;
        let [ended, used] = self.end((port, pid), bets_file)?;
        Ok([queries, batches, ended, used])
    }

    /// The time of an end, and the processor time of its child.
    fn end(&self, (port, pid): (u16, u32), bets_file: &Path) -> io::Result<[f64; 2]> {
        let children = || children_of(pid).map_err(io::Error::other);
        let (earlier, mut other) = (children()?, connect(port)?);
        let [query, end] = self.ending.each_ref().map(|message| message.bytes(Framing::Plain));
        expect::<{ wire::TALLY }>(7, exchange(&mut other, query)?)?;
        let child = children()?.into_iter().find(|child| !earlier.contains(child)).ok_or(io::ErrorKind::NotFound)?;
        File::open(bets_file)?.sync_data()?;
        let used_us = || processor_time(child).map(|time| time.as_secs_f64() * 1e6).map_err(io::Error::other);
        let before = used_us()?;
        let ended = time(|| expect(2, exchange::<2>(&mut other, end)?))?;
        Ok([ended, used_us()? - before])
    }
}

/// The median time of a query for the winners of `agency`, in µs.
pub fn winners_query(server: &mut TcpStream, agency: u32) -> io::Result<f64> {
    let query = wire::winners_query(agency);
    repeat(|| ask_for_winners(server, &query))
}

/// Sends `query` and receives the winners.
pub fn ask_for_winners(server: &mut TcpStream, query: &Frame) -> io::Result<()> {
    let header = exchange(server, query.bytes(Framing::Plain))?;
    let mut documents = vec![0; wire::winners(header)? as usize * wire::DOCUMENT];
    server.read_exact(&mut documents)
}

/// The median time of `call` in µs.
fn repeat(mut call: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let times = (0..REPETITIONS).map(|_| time(&mut call)).collect::<io::Result<Vec<_>>>()?;
    Ok(Quartiles::of(&times).map_or(f64::NAN, |quartiles| quartiles.median))
}

/// The time of `call` in µs.
fn time(call: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let start = Instant::now();
    call()?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// Checks the type of an answer, and the code of an acknowledgement.
fn expect<const N: usize>(message_type: u8, answer: [u8; N]) -> io::Result<()> {
    match answer[..] {
        [2, code, ..] if code != 0 => Err(io::Error::other(format!("the answer is code {code}"))),
        [first, ..] if first == message_type => Ok(()),
        _ => Err(io::Error::other(format!("the answer is {answer:?}, not message {message_type}"))),
    }
}

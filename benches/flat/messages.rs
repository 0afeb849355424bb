//! The messages of a round, encoded before the measurement starts, and their times.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use loteria::protocol::batch::Batch;
use loteria::protocol::typed;

use super::stored::{bet, id};
use crate::Result;
use crate::figures::{children_of, median, processor_time};
use crate::traffic::{connect, exchange};

/// Number of queries in a round, and of batches.
pub const REPETITIONS: u32 = 200;
/// Number of bets in a batch.
pub const BETS: u32 = 100;
/// Bytes of message 7, the answer to a query.
const TALLY: usize = 18;

/// The messages of a round.
pub struct Messages {
    query: Vec<u8>,
    batch: Vec<u8>,
    /// Query and end of another agency.
    ending: [Vec<u8>; 2],
}

impl Messages {
    /// The agency `sender` sends queries and batches, and the agency `ending` ends.
    pub fn of(sender: u32, ending: u32) -> Result<Self> {
        let bets = (0..BETS).map(|n| bet(sender, n)).collect::<Result<Vec<_>>>()?;
        let batch = Batch::new(&bets).ok_or("the bets are not a batch")?;
        let query = |agency| -> Result<_> { Ok(typed::encode_tally_query(id(agency)?)) };
        Ok(Self {
            query: query(sender)?,
            batch: typed::encode_batch(id(sender)?, batch),
            ending: [query(ending)?, typed::encode_end(id(ending)?)],
        })
    }

    /// Sends each message after the answer to the previous one. Returns times in µs: the medians of the queries and of
    /// the batches, the time of the end, and the processor time that its child needs for it. Most of the time of an end
    /// is that of the disk. `bets_file` is synced before the end, which otherwise syncs the batches, too.
    pub fn times(&self, (port, pid): (u16, u32), bets_file: &Path) -> io::Result<[f64; 4]> {
        let mut server = connect(port)?;
        let mut ask = |query| expect::<TALLY>(7, exchange(&mut server, query)?);
        // This query also claims the agency.
        ask(&self.query)?;
        let queries = repeat(|| ask(&self.query))?;
        let batches = repeat(|| expect(2, exchange::<2>(&mut server, &self.batch)?))?;
        let children = || children_of(pid).map_err(io::Error::other);
        let (earlier, mut other) = (children()?, connect(port)?);
        let [query, end] = &self.ending;
        expect::<TALLY>(7, exchange(&mut other, query)?)?;
        let child = children()?.into_iter().find(|child| !earlier.contains(child)).ok_or(io::ErrorKind::NotFound)?;
        File::open(bets_file)?.sync_data()?;
        let used_us = || processor_time(child).map(|time| time.as_secs_f64() * 1e6).map_err(io::Error::other);
        let before = used_us()?;
        let ended = time(|| expect(2, exchange::<2>(&mut other, end)?))?;
        Ok([queries, batches, ended, used_us()? - before])
    }
}

/// The median time of `call` in µs.
fn repeat(mut call: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let times = (0..REPETITIONS).map(|_| time(&mut call)).collect::<io::Result<Vec<_>>>()?;
    Ok(median(times.into_iter()))
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

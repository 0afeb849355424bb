//! How many bets each agency has, and the checksum of its rows, up to some byte of `bets.csv`.

use std::collections::HashMap;
use std::io::{self, BufRead};

use crate::bet::AgencyId;
use crate::protocol::Holding;
use crate::row;

/// What lies in front of [`Tally::len`]. The parent makes one at start; its children inherit it and look only at what
/// came after.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    len: u64,
    holdings: HashMap<AgencyId, Holding>,
}

impl Tally {
    /// Bytes of `bets.csv` that have been counted.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has been counted.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bets of all agencies.
    pub fn bets(&self) -> u64 {
        self.holdings.values().map(|holding| holding.count).sum()
    }

    /// What is counted of `agency`.
    pub fn holding(&self, agency: AgencyId) -> Holding {
        self.holdings.get(&agency).copied().unwrap_or_default()
    }

    /// The same place, with one agency alone.
    pub(super) fn only(&self, agency: AgencyId) -> Self {
        Self { len: self.len, holdings: HashMap::from([(agency, self.holding(agency))]) }
    }

    /// Counts committed rows of one agency.
    pub(super) fn extend<R: BufRead>(&mut self, mut lines: Lines<R>, agency: AgencyId) -> io::Result<()> {
        while let Some(line) = lines.next_line()? {
            if row::agency(line) == Some(agency) {
                self.count(agency, line);
            }
            self.len += line.len() as u64;
        }
        Ok(())
    }

    /// Counts whole valid rows up to the first line that is none.
    pub(super) fn extend_valid<R: BufRead>(&mut self, mut lines: Lines<R>) -> io::Result<()> {
        while let Some(line) = lines.next_line()? {
            let Some(bet) = row::parse(line) else { break };
            self.count(bet.agency, line);
            self.len += line.len() as u64;
        }
        Ok(())
    }

    fn count(&mut self, agency: AgencyId, line: &[u8]) {
        let holding = self.holdings.entry(agency).or_default();
        let mut crc = crc32fast::Hasher::new_with_initial(holding.crc);
        crc.update(line);
        *holding = Holding { count: holding.count + 1, crc: crc.finalize() };
    }
}

/// Lines with their ends, one at a time in one buffer.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    offset: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(from: R, offset: u64) -> Self {
        Self { from, offset, line: Vec::new() }
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; the last one may lack its end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let len = self.from.read_until(b'\n', &mut self.line)?;
        self.offset += len as u64;
        Ok((len > 0).then_some(&self.line))
    }
}

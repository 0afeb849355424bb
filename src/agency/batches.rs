//! The batches of the agency's file, limited in bets and in bytes.
//!
//! Owns the bets of one batch, and the bet that no longer fitted into it. Used by the conversations that send bets.
//! Knows the length of a bet on the wire but not its bytes; knows no server.

use super::error::Error;
use super::reader::Reader;
use crate::bet::Bet;
use crate::protocol::batch::{self, Batch};
use crate::row::{Rows, Tally};

/// Most bytes of a packet, header included: the assignment's 8 kB.
pub const MAX_PACKET: usize = 8000;

/// Bets that are formatted at once for a tally.
const TALLIED_AT_ONCE: usize = 256;

/// The limits of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bets in a batch.
    pub bets: u8,
    /// Bytes of a packet before its bets.
    pub header: usize,
}

/// The agency's file as a sequence of batches.
#[derive(Debug)]
pub struct Batches<'a> {
    reader: Reader<'a>,
    limits: Limits,
    batch: Vec<Bet<'static>>,
    /// A bet that was read but is not part of a batch yet.
    pending: Option<Bet<'static>>,
}

impl<'a> Batches<'a> {
    /// Batches of the bets of `reader`, within `limits`.
    pub fn new(reader: Reader<'a>, limits: Limits) -> Self {
        Self { reader, limits, batch: Vec::with_capacity(limits.bets.into()), pending: None }
    }

    /// The file that the bets are read from.
    pub fn reader(&mut self) -> &mut Reader<'a> {
        &mut self.reader
    }

    /// The next batch, of at least one bet; `None` at the end of the file.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn next_batch(&mut self) -> Result<Option<Batch<'_>>, Error> {
        self.batch.clear();
        let mut room = MAX_PACKET - self.limits.header;
        while self.batch.len() < self.limits.bets.into() {
            let Some(bet) = self.next_bet()? else { break };
            // A single bet always fits: it has at most 79 bytes.
            let Some(left) = room.checked_sub(batch::encoded_len(&bet)) else {
                self.pending = Some(bet);
                break;
            };
            room = left;
            self.batch.push(bet);
        }
        if self.batch.is_empty() {
            return Ok(None);
        }
        let batch =
            Batch::new(&self.batch).expect("limits.bets is a u8, and the reader refuses names that are too long");
        Ok(Some(batch))
    }

    /// Goes back to the start of the file, and skips its first `count` bets, or all if there are fewer.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn restart_after(&mut self, count: u64) -> Result<(), Error> {
        self.restart()?;
        for _ in 0..count {
            if self.next_bet()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// As [`Batches::restart_after`], but also returns the tally of the skipped bets: the number and the checksum of
    /// their rows, as a server stores them.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn restart_with_tally(&mut self, count: u64) -> Result<Tally, Error> {
        self.restart()?;
        let mut tally = Tally::default();
        let mut bets = Vec::with_capacity(TALLIED_AT_ONCE);
        for _ in 0..count {
            let Some(bet) = self.next_bet()? else { break };
            bets.push(bet);
            if bets.len() == TALLIED_AT_ONCE {
                add_rows(&mut tally, &bets);
                bets.clear();
            }
        }
        add_rows(&mut tally, &bets);
        Ok(tally)
    }

    /// Whether the file has more bets.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn has_more(&mut self) -> Result<bool, Error> {
        self.pending = self.next_bet()?;
        Ok(self.pending.is_some())
    }

    fn next_bet(&mut self) -> Result<Option<Bet<'static>>, Error> {
        match self.pending.take() {
            Some(bet) => Ok(Some(bet)),
            None => self.reader.next_bet(),
        }
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.pending = None;
        self.reader.rewind()
    }
}

fn add_rows(tally: &mut Tally, bets: &[Bet<'_>]) {
    let rows = Rows::from_iter(bets);
    tally.add_rows(rows.bytes(), rows.count());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agency::stop::StopSignal;
    use crate::bet::AgencyId;
    use crate::protocol::typed;
    use std::io::Write;

    const LIMITS: Limits = Limits { bets: u8::MAX, header: typed::BATCH_HEADER };

    /// Calls `check` with the batches of a file with these rows.
    fn with<T>(rows: &[String], limits: Limits, check: impl FnOnce(Batches<'_>) -> T) -> T {
        let stop = StopSignal::never();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(rows.concat().as_bytes()).unwrap();
        let reader = Reader::open(AgencyId::new(1).unwrap(), file.path(), &stop).unwrap();
        check(Batches::new(reader, limits))
    }

    fn sizes(mut batches: Batches<'_>) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(bets) = batches.next_batch().unwrap() {
            sizes.push(bets.bets().len());
        }
        sizes
    }

    fn rows(count: usize, name: &str) -> Vec<String> {
        (0..count).map(|i| format!("{name},{name},{i},1999-03-17,7\r\n")).collect()
    }

    #[test]
    fn batches_are_full_except_the_last() {
        for (bets, expected) in
            [(10, vec![10, 10, 5]), (25, vec![25]), (24, vec![24, 1]), (255, vec![25]), (1, vec![1; 25])]
        {
            assert_eq!(with(&rows(25, "Ana"), Limits { bets, ..LIMITS }, sizes), expected);
        }
        assert_eq!(with(&[], LIMITS, sizes), [0_usize; 0]);
    }

    #[test]
    fn packet_of_longest_bets_stays_within_8000_bytes() {
        // 79 bytes a bet: 101 of them and a header of 6 bytes are 7985.
        let longest = rows(255, &"x".repeat(batch::MAX_NAME));
        assert_eq!(with(&longest, LIMITS, sizes), [101, 101, 53]);
        with(&longest, LIMITS, |mut batches| {
            let mut documents = 0..;
            while let Some(bets) = batches.next_batch().unwrap() {
                assert!(typed::encode_batch(AgencyId::new(1).unwrap(), bets).len() <= MAX_PACKET);
                assert!(bets.bets().iter().all(|bet| documents.next() == Some(bet.document)));
            }
            assert_eq!(documents.next(), Some(255));
        });
    }

    #[test]
    fn packet_may_have_8000_bytes_but_not_8001() {
        // A header of 6 bytes, 100 bets of 79 and two of 47.
        let mut lines = rows(100, &"x".repeat(batch::MAX_NAME));
        lines.extend(rows(2, &"x".repeat(13)));
        lines.extend(rows(1, "y"));
        assert_eq!(with(&lines, LIMITS, sizes), [102, 1]);
        lines[101].insert(0, 'x');
        assert_eq!(with(&lines, LIMITS, sizes), [101, 2]);
    }

    #[test]
    fn restart_skips_bets_and_returns_their_tally() {
        let lines = rows(600, "Ñandú");
        with(&lines, Limits { bets: 100, ..LIMITS }, |mut batches| {
            batches.next_batch().unwrap();
            let stored: String = (0..600).map(|i| format!("1,Ñandú,Ñandú,{i},1999-03-17,7\r\n")).collect();
            let len = |count: usize| stored.match_indices('\n').nth(count - 1).unwrap().0 + 1;
            for count in [1, 255, 256, 257, 599, 600] {
                let expected = crc32fast::hash(&stored.as_bytes()[..len(count)]);
                let found = batches.restart_with_tally(count as u64).unwrap();
                assert_eq!(found, Tally { count: count as u64, crc: expected });
                assert_eq!(batches.has_more().unwrap(), count < 600);
                let next = batches.next_batch().unwrap().map(|batch| batch.bets()[0].document);
                assert_eq!(next, (count < 600).then_some(u32::try_from(count).unwrap()));
            }
            assert_eq!(batches.restart_with_tally(601).unwrap().count, 600);
            assert_eq!(batches.restart_with_tally(0).unwrap(), Tally::default());
            batches.restart_after(3).unwrap();
            assert_eq!(batches.next_batch().unwrap().unwrap().bets()[0].document, 3);
        });
    }
}

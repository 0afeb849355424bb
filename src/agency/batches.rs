//! The batches of the agency's file, limited in bets and in bytes.
//!
//! Owns the limits of a batch. Used by the conversations that send bets. Encodes the bets of a batch at the end of a buffer;
//! a bet that does not fit any more stays in the reader. Knows no server.

use std::num::NonZeroU8;

use super::error::Error;
use super::reader::Reader;
use crate::protocol::batch::{self, Growing};
use crate::row::{Rows, Tally};

/// Most bytes of a packet, header included: the assignment's 8 kB.
pub const MAX_PACKET: usize = 8000;

/// Bets whose rows are formatted at once for a tally.
const TALLIED_AT_ONCE: u64 = 256;

/// The agency's file as a sequence of batches.
#[derive(Debug)]
pub struct Batches<'a> {
    reader: Reader<'a>,
    /// Most bets in a batch.
    most: u8,
}

/// Whether a bet became part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Added {
    Yes,
    No,
}

impl<'a> Batches<'a> {
    /// Batches of at most `most` of the bets of `reader`.
    pub fn new(reader: Reader<'a>, most: u8) -> Self {
        Self { reader, most }
    }

    /// The file that the bets are read from.
    pub fn reader(&mut self) -> &mut Reader<'a> {
        &mut self.reader
    }

    /// Fills `batch`, which has no bets yet, with the next bets. Returns their number; `None` at the end of the file.
    ///
    /// # Errors
    /// As [`Reader::next_bet`]. Then `batch` has left no byte.
    pub fn fill(&mut self, mut batch: Growing<'_>) -> Result<Option<NonZeroU8>, Error> {
        while batch.count() < self.most {
            let added = self.reader.next_bet(|bet| {
                // A single bet always fits: it has at most 79 bytes.
                if batch.encoded_len() + batch::encoded_len(bet) > MAX_PACKET {
                    return Added::No;
                }
                batch.push(bet);
                Added::Yes
            })?;
            match added {
                Some(Added::Yes) => {}
                Some(Added::No) => {
                    self.reader.step_back();
                    break;
                }
                None => break,
            }
        }
        Ok(batch.finish())
    }

    /// Goes back to the start of the file, and skips its first `count` bets, or all if there are fewer.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn restart_after(&mut self, count: u64) -> Result<(), Error> {
        self.reader.rewind()?;
        for _ in 0..count {
            if self.reader.next_bet(|_| ())?.is_none() {
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
        self.reader.rewind()?;
        let mut tally = Tally::default();
        let mut rows = Rows::default();
        loop {
            let wanted = TALLIED_AT_ONCE.min(count - tally.count);
            while rows.count() < wanted && self.reader.next_bet(|bet| rows.push(bet))?.is_some() {}
            if rows.is_empty() {
                return Ok(tally);
            }
            tally.add_rows(rows.bytes(), rows.count());
            rows.clear();
        }
    }

    /// Whether the file has more bets.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn has_more(&mut self) -> Result<bool, Error> {
        let has_more = self.reader.next_bet(|_| ())?.is_some();
        if has_more {
            self.reader.step_back();
        }
        Ok(has_more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agency::stop::StopSignal;
    use crate::bet::AgencyId;
    use crate::protocol::batch::Arriving;
    use crate::protocol::{Form, Request, typed};
    use std::io::Write;

    /// Calls `check` with the batches of a file with these rows, of at most `most` bets each.
    fn with<T>(rows: &[String], most: u8, check: impl FnOnce(Batches<'_>) -> T) -> T {
        let stop = StopSignal::never();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(rows.concat().as_bytes()).unwrap();
        let reader = Reader::open(agency(), file.path(), &stop).unwrap();
        check(Batches::new(reader, most))
    }

    fn agency() -> AgencyId {
        AgencyId::new(1).unwrap()
    }

    /// The documents of the next batch; none at the end of the file.
    fn next_documents(batches: &mut Batches<'_>) -> Vec<u32> {
        let mut message = b"other messages".to_vec();
        let before = message.len();
        let count = batches.fill(typed::start_batch(&mut message, agency())).unwrap();
        assert!(message.len() - before <= MAX_PACKET && message.starts_with(b"other messages"));
        let Some(count) = count else {
            assert_eq!(message.len(), before, "no batch without bets");
            return Vec::new();
        };
        let (mut arriving, header) = Arriving::start(Form::TypedBatch, &message[before + 1..]).unwrap();
        arriving.take(&message[before + 1 + header..]).unwrap();
        match arriving.finish() {
            Some(Request::Bets { count: announced, rows: Ok(rows), .. }) => {
                assert_eq!((announced, u64::from(announced)), (count.get(), rows.count()));
                rows.bets().map(|bet| bet.document).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn sizes(mut batches: Batches<'_>) -> Vec<usize> {
        std::iter::repeat_with(|| next_documents(&mut batches).len()).take_while(|&len| len > 0).collect()
    }

    fn rows(count: usize, name: &str) -> Vec<String> {
        (0..count).map(|i| format!("{name},{name},{i},1999-03-17,7\r\n")).collect()
    }

    #[test]
    fn batches_are_full_except_the_last() {
        for (bets, expected) in
            [(10, vec![10, 10, 5]), (25, vec![25]), (24, vec![24, 1]), (255, vec![25]), (1, vec![1; 25])]
        {
            assert_eq!(with(&rows(25, "Ana"), bets, sizes), expected);
        }
        assert_eq!(with(&[], u8::MAX, sizes), [0_usize; 0]);
    }

    #[test]
    fn packet_of_longest_bets_stays_within_8000_bytes() {
        // 79 bytes a bet: 101 of them and a header of 6 bytes are 7985.
        let longest = rows(255, &"x".repeat(batch::MAX_NAME));
        assert_eq!(with(&longest, u8::MAX, sizes), [101, 101, 53]);
        with(&longest, u8::MAX, |mut batches| {
            let all: Vec<u32> = (0..3).flat_map(|_| next_documents(&mut batches)).collect();
            assert!(all.into_iter().eq(0..255));
        });
    }

    #[test]
    fn packet_may_have_8000_bytes_but_not_8001() {
        // A header of 6 bytes, 100 bets of 79 and two of 47.
        let mut lines = rows(100, &"x".repeat(batch::MAX_NAME));
        lines.extend(rows(2, &"x".repeat(13)));
        lines.extend(rows(1, "y"));
        assert_eq!(with(&lines, u8::MAX, sizes), [102, 1]);
        lines[101].insert(0, 'x');
        assert_eq!(with(&lines, u8::MAX, sizes), [101, 2]);
    }

    #[test]
    fn failure_leaves_no_byte_of_a_batch() {
        with(&rows(25, "Ana"), u8::MAX, |mut batches| {
            let mut messages = b"other messages".to_vec();
            let mut batch = typed::start_batch(&mut messages, agency());
            batches.reader().next_bet(|bet| batch.push(bet)).unwrap();
            drop(batch);
            assert_eq!(messages, b"other messages");
        });
    }

    #[test]
    fn restart_skips_bets_and_returns_their_tally() {
        let lines = rows(600, "Ñandú");
        with(&lines, 100, |mut batches| {
            next_documents(&mut batches);
            let stored: String = (0..600).map(|i| format!("1,Ñandú,Ñandú,{i},1999-03-17,7\r\n")).collect();
            let len = |count: usize| stored.match_indices('\n').nth(count - 1).unwrap().0 + 1;
            for count in [1, 255, 256, 257, 599, 600] {
                let expected = crc32fast::hash(&stored.as_bytes()[..len(count)]);
                let found = batches.restart_with_tally(count as u64).unwrap();
                assert_eq!(found, Tally { count: count as u64, crc: expected });
                assert_eq!(batches.has_more().unwrap(), count < 600);
                let next = next_documents(&mut batches).first().copied();
                assert_eq!(next, (count < 600).then_some(u32::try_from(count).unwrap()));
            }
            assert_eq!(batches.restart_with_tally(601).unwrap().count, 600);
            assert_eq!(batches.restart_with_tally(u64::MAX).unwrap().count, 600);
            assert_eq!(batches.restart_with_tally(0).unwrap(), Tally::default());
            batches.restart_after(3).unwrap();
            assert_eq!(next_documents(&mut batches)[0], 3);
        });
    }
}

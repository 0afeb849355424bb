//! Gives the records of an input what a fuzzer cannot guess: magic, checksums, and values that depend on other bytes.

use super::numbers::{crc32, number};
use super::records::{self, HALF, SLOTS, UNIT, UNITS, u32_of};
use super::start::{Rows, run};

/// Right values for fields that depend on other bytes. The fields are combined with them by exclusive or. Without them,
/// the fields stay.
#[derive(Debug, Default)]
pub struct Right {
    /// Bytes of the valid rows, and their tallies.
    rows: Option<(u64, Rows)>,
    /// CRC-32, offset and length of the result.
    result: Option<(u32, u64, u64)>,
}

impl Right {
    /// The values for a file with these bets.
    pub fn of(bets: &[u8]) -> Self {
        let (len, rows) = run(bets);
        Self { rows: Some((len as u64, rows)), result: None }
    }

    /// The same with a result at this offset.
    pub fn with_result(self, at: usize, result: &[u8]) -> Self {
        let extent = (crc32(result), at as u64, result.len() as u64);
        Self { result: self.rows.as_ref().map(|_| extent), ..self }
    }

    fn tally(&self, agency: u32) -> (u64, u32) {
        let rows = self.rows.iter().flat_map(|(_, rows)| rows);
        let own = rows.into_iter().find(|(own, _)| own.get() == agency);
        own.map_or((0, 0), |(_, tally)| (tally.count, tally.crc))
    }

    fn len(&self) -> u64 {
        self.rows.as_ref().map_or(0, |(len, _)| *len)
    }
}

/// Moves the head and the slots to their places.
pub fn unfold(books: &mut Vec<u8>) {
    let mut folded = std::mem::take(books).into_iter();
    for (at, len) in [(0, HALF), (records::HEADS[0], 2 * HALF), (SLOTS, usize::MAX)] {
        books.resize(at, 0);
        books.extend(folded.by_ref().take(len));
    }
}

/// Seals the records of `books`. With `boot`, they are of this boot.
pub fn books(books: &mut [u8], boot: Option<&[u8]>, right: &Right) {
    let slots = books.len().saturating_sub(SLOTS).div_ceil(2 * HALF) as u64;
    if let Some(header) = books.get_mut(..HALF) {
        boot.into_iter().for_each(|boot| header[8..44].copy_from_slice(boot));
        if right.rows.is_some() {
            combine(&mut header[48..52], slots);
        }
        records::seal(header, b"LOTBOOK1");
    }
    for at in records::HEADS {
        if let Some(head) = books.get_mut(at..at + HALF).filter(|half| is_written(half)) {
            combine(&mut head[8..16], right.len());
            records::seal(head, b"");
        }
    }
    let slots = books.get_mut(SLOTS..).unwrap_or_default();
    for half in slots.chunks_exact_mut(HALF).filter(|half| is_written(half)) {
        let (count, crc) = right.tally(u32_of(&half[28..32]));
        combine(&mut half[8..16], right.len());
        combine(&mut half[16..24], count);
        combine(&mut half[24..28], crc.into());
        records::seal(half, b"");
    }
}

/// Seals the records of `draw`. A held record begins with H, one of a planned result with another letter.
pub fn draw(draw: &mut [u8], right: &Right) {
    for (n, record) in draw.chunks_exact_mut(UNIT).enumerate().filter(|(_, record)| is_written(record)) {
        match n {
            0 => records::seal(record, b"LOTDRAW2"),
            1 => {
                let is_held = record[0] == b'H';
                let (crc, offset, len) = right.result.unwrap_or_default();
                combine(&mut record[4..8], if is_held { crc.into() } else { 0 });
                combine(&mut record[8..16], offset);
                combine(&mut record[16..24], if is_held { len } else { 0 });
                records::seal(record, if is_held { b"HELD" } else { b"NEXT" });
            }
            _ => {
                let (count, crc) = right.tally(u32_of(&record[4..8]));
                combine(&mut record[8..16], count);
                combine(&mut record[16..20], crc.into());
                records::seal(record, b"FIN2");
            }
        }
    }
    debug_assert_eq!(UNITS, 2 * UNIT);
}

/// Seals a result.
pub fn result(result: &mut [u8], right: &Right) {
    if result.len() < UNIT {
        return;
    }
    records::seal(&mut result[..UNIT], b"RES2");
    let slots = number(&result[12..16]) as usize;
    for at in (0..slots).map(|slot| UNIT + 16 * slot).take_while(|at| at + 16 <= result.len()).collect::<Vec<_>>() {
        let [first, count] = [4, 8].map(|field| u32_of(&result[at + field..at + field + 4]) as usize);
        let from = UNIT + 16 * slots + 4 * first;
        let crc = result.get(from..from.saturating_add(4 * count)).map(crc32);
        if let Some(crc) = crc.filter(|_| right.rows.is_some()) {
            combine(&mut result[at + 12..at + 16], crc.into());
        }
    }
}

fn is_written(record: &[u8]) -> bool {
    record.iter().any(|&byte| byte != 0)
}

/// Combines a big-endian field with `value` by exclusive or.
fn combine(field: &mut [u8], value: u64) {
    let len = field.len();
    field.iter_mut().zip(&value.to_be_bytes()[8 - len..]).for_each(|(byte, right)| *byte ^= right);
}

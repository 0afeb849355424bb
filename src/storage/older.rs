//! The files of an older version of this server: how they are found, and what they record.
//!
//! | file | layout, big-endian |
//! |---|---|
//! | `bets.lock` | one record of 72 bytes: `LOTBETS1`, or `LOTBETS?` after a failed sync; the boot, device and inode of `bets.csv`, committed length, CRC-32 |
//! | `ends` | a record of 12 bytes for each agency that has ended: `FIN1`, agency, CRC-32. A torn record does not count |
//! | `draw` | empty before the draw; then `LOTDRAW1`, agencies, winning number, committed length, number of entries; the entries {agency, number of documents, their CRC-32}; the CRC-32 of all bytes so far; the documents, u32 each |
//!
//! Used by a start, which refuses these files, and by `--repair`, which converts them. Nothing writes them any more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
use std::path::{Path, PathBuf};

use super::boot::Boot;
use super::error::{Defect, Error, Result};
use super::files::open_if_there;
use super::identity::Identity;
use super::paths::Paths;
use super::reader::Range;
use super::record::{self, Found, Reader, Record, Writer};
use super::results::Terms;
use crate::bet::AgencyId;
use crate::draw::Winners;

/// The first bytes of `bets.lock`. The next byte is 1 or a question mark.
const RECORD: &[u8; 7] = b"LOTBETS";
const CERTAIN: u8 = b'1';
const DOUBTFUL: u8 = b'?';
const RECORD_LEN: usize = 72;
const END: &[u8; 4] = b"FIN1";
const END_LEN: usize = 12;
const DRAW: &[u8; 8] = b"LOTDRAW1";
/// Bytes of the result before its entries.
const INDEX_LEN: usize = 28;
const ENTRY_LEN: usize = 12;
const DOCUMENT_LEN: usize = 4;

/// The first file of an older version that is there, if any.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read.
pub fn found(paths: &Paths) -> Result<Option<PathBuf>> {
    for (path, magic) in [(&paths.older.record, &RECORD[..]), (&paths.older.ends, END), (&paths.draw, DRAW)] {
        if begins_with(path, magic)? {
            return Ok(Some(path.clone()));
        }
    }
    Ok(None)
}

fn begins_with(path: &Path, magic: &[u8]) -> Result<bool> {
    let front = File::open(path).and_then(|file| Range::new(&file, 0, magic.len() as u64).up_to_end());
    match front {
        // A directory, or a file that this user cannot read, is not a file of an older version of this server.
        Err(e) if matches!(e.kind(), NotFound | IsADirectory | PermissionDenied) => Ok(false),
        front => Ok(front.map_err(Error::io("read", path))? == magic),
    }
}

/// Where the committed rows of `bets.csv` end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// At this offset.
    At(u64),
    /// At this offset or before it, where the valid rows end: a sync had failed.
    AtMost(u64),
    /// Where the valid rows end: nothing of this boot and of this file records the length.
    Unknown,
}

/// The lottery that the older files record.
#[derive(Debug, PartialEq, Eq)]
pub struct Lottery {
    /// Where the committed rows end.
    pub committed: Committed,
    /// The agencies that have ended.
    pub ended: BTreeSet<AgencyId>,
    /// The result, if the draw has been held.
    pub drawn: Option<(Terms, Winners)>,
}

impl Lottery {
    /// Reads the older files beside the `bets.csv` with the identity `bets`, in the current boot.
    ///
    /// # Errors
    /// [`Error::Damaged`] if `draw` is neither empty nor a valid result; [`Error::NotAStore`] if `ends` is a file of another
    /// program; [`Error::Io`] if a file cannot be read.
    pub fn read(paths: &Paths, bets: Identity, boot: Option<Boot>) -> Result<Self> {
        let [lock, ends] = [&paths.older.record, &paths.older.ends].map(|path| bytes(path));
        let ends = ends?;
        if ends.iter().take(END.len()).any(|&byte| byte != 0) && !ends.starts_with(END) {
            return Err(Error::NotAStore { path: paths.older.ends.clone() });
        }
        let draw = bytes(&paths.draw)?;
        let drawn = match draw.is_empty() {
            true => None,
            false => Some(result(&draw).ok_or_else(|| Error::damaged(&paths.draw, Defect::Result))?),
        };
        Ok(Self { committed: committed(&lock?, bets, boot), ended: ended(&ends), drawn })
    }
}

/// The content of a file; nothing if it does not exist.
fn bytes(path: &Path) -> Result<Vec<u8>> {
    let file = open_if_there(path)?;
    let read = |file: File| Range::new(&file, 0, u64::MAX).up_to_end().map_err(Error::io("read", path));
    file.map_or(Ok(Vec::new()), read)
}

// ---- the committed length ----

/// The record in `bets.lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Length {
    is_doubtful: bool,
    boot: Boot,
    file: Identity,
    committed: u64,
}

impl Record<RECORD_LEN> for Length {
    fn encode(&self, into: &mut Writer<'_>) {
        into.bytes(RECORD).bytes(&[if self.is_doubtful { DOUBTFUL } else { CERTAIN }]).bytes(&self.boot);
        into.u64(self.file.device).u64(self.file.inode).u64(self.committed);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.magic(RECORD)?;
        let [kind] = from.array()?;
        let boot = from.array()?;
        let file = Identity { device: from.u64()?, inode: from.u64()? };
        let is_doubtful = kind == DOUBTFUL;
        (is_doubtful || kind == CERTAIN).then_some(Self { is_doubtful, boot, file, committed: from.u64()? })
    }
}

fn committed(lock: &[u8], bets: Identity, boot: Option<Boot>) -> Committed {
    match lock.first_chunk().map(record::opened) {
        Some(Found::Valid(Length { is_doubtful, boot: written, file, committed }))
            if Some(written) == boot && file == bets =>
        {
            if is_doubtful {
                Committed::AtMost(committed)
            } else {
                Committed::At(committed)
            }
        }
        _ => Committed::Unknown,
    }
}

// ---- the ends ----

/// One record in `ends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End(AgencyId);

impl Record<END_LEN> for End {
    fn encode(&self, into: &mut Writer<'_>) {
        into.bytes(END).u32(self.0.get());
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.magic(END)?;
        AgencyId::new(from.u32()?).map(Self)
    }
}

fn ended(ends: &[u8]) -> BTreeSet<AgencyId> {
    let records = ends.as_chunks::<END_LEN>().0.iter();
    records.filter_map(|bytes| record::opened(bytes).valid()).map(|End(agency)| agency).collect()
}

// ---- the result ----

/// The result in the bytes of `draw`; `None` if any part of it is not valid.
fn result(draw: &[u8]) -> Option<(Terms, Winners)> {
    let number = |at: usize| draw.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let entries = usize::try_from(number(INDEX_LEN - 4)?).ok()?;
    let index_len = INDEX_LEN + entries * ENTRY_LEN;
    if !draw.starts_with(DRAW) || number(index_len)? != crc32fast::hash(draw.get(..index_len)?) {
        return None;
    }
    let committed = u64::from(number(16)?) << 32 | u64::from(number(20)?);
    let terms = Terms { agencies: number(8)?, winning_number: number(12)?, committed };
    let mut winners = Winners::new();
    let mut documents = &draw[index_len + 4..];
    for entry in 0..entries {
        let at = INDEX_LEN + entry * ENTRY_LEN;
        let (agency, count, crc) = (AgencyId::new(number(at)?)?, number(at + 4)?, number(at + 8)?);
        let (own, rest) = documents.split_at_checked(count as usize * DOCUMENT_LEN)?;
        if crc32fast::hash(own) != crc {
            return None;
        }
        documents = rest;
        winners.insert(agency, own.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect());
    }
    Some((terms, winners))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Boot = *b"01234567-89ab-cdef-0123-456789abcdef";
    const BETS: Identity = Identity { device: 1, inode: 2 };
    const TERMS: Terms = Terms { agencies: 5, winning_number: 7574, committed: 1 << 40 };

    fn id(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    /// A result as the older version wrote it.
    fn encoded(terms: Terms, winners: &Winners) -> Vec<u8> {
        let documents = |own: &Vec<u32>| own.iter().flat_map(|document| document.to_be_bytes()).collect::<Vec<_>>();
        let Terms { agencies, winning_number, committed } = terms;
        let numbers = [agencies, winning_number, (committed >> 32) as u32, committed as u32, winners.len() as u32];
        let mut bytes = DRAW.to_vec();
        bytes.extend(numbers.into_iter().flat_map(u32::to_be_bytes));
        for (agency, own) in winners {
            let entry = [agency.get(), own.len() as u32, crc32fast::hash(&documents(own))];
            bytes.extend(entry.into_iter().flat_map(u32::to_be_bytes));
        }
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend(winners.values().flat_map(documents));
        bytes
    }

    #[test]
    fn every_bit_of_a_record_counts() {
        for is_doubtful in [false, true] {
            record::assert_every_bit_counts(Length { is_doubtful, boot: BOOT, file: BETS, committed: 1 << 40 });
        }
        record::assert_every_bit_counts(End(id(7)));
    }

    #[test]
    fn a_length_counts_in_its_boot_and_for_its_file() {
        let length = Length { is_doubtful: false, boot: BOOT, file: BETS, committed: 99 };
        let lock = record::sealed(&length);
        let other = Identity { inode: 3, ..BETS };
        assert_eq!(committed(&lock, BETS, Some(BOOT)), Committed::At(99));
        assert_eq!(committed(&lock, other, Some(BOOT)), Committed::Unknown);
        assert_eq!(committed(&lock, BETS, Some([b'0'; 36])), Committed::Unknown);
        assert_eq!(committed(&lock, BETS, None), Committed::Unknown);
        assert_eq!(committed(&lock[..71], BETS, Some(BOOT)), Committed::Unknown);
        let doubtful = record::sealed(&Length { is_doubtful: true, ..length });
        assert_eq!(committed(&doubtful, BETS, Some(BOOT)), Committed::AtMost(99));
    }

    #[test]
    fn torn_records_of_ends_do_not_count() {
        let ends = [3, 1].map(|agency| record::sealed(&End(id(agency)))).concat();
        let seventh = record::sealed(&End(id(7)));
        for torn in 0..END_LEN {
            assert_eq!(ended(&[&ends, &seventh[..torn]].concat()), BTreeSet::from([id(1), id(3)]), "{torn} bytes");
        }
        assert!(ended(&[&ends[..], &[0; END_LEN], &seventh].concat()).contains(&id(7)));
    }

    #[test]
    fn torn_or_flipped_results_are_not_valid() {
        let winners = Winners::from([(id(1), vec![5]), (id(4), vec![9, 3, 9])]);
        let whole = encoded(TERMS, &winners);
        assert_eq!(result(&whole), Some((TERMS, winners)));
        assert_eq!(result(&encoded(TERMS, &Winners::new())), Some((TERMS, Winners::new())));
        for cut in 0..whole.len() {
            assert_eq!(result(&whole[..cut]), None, "{cut} bytes");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(result(&flipped), None, "bit {bit}");
        }
    }
}

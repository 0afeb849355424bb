//! The layout of the result of the draw, in the file `draw`.
//!
//! Big-endian: a header of 32 bytes {`RES2`, agencies, winning number, slots, committed length, CRC-32}; for each slot
//! an entry {agency, place of its first document, number of documents, their CRC-32}, each of 32 bits; the documents.
//! An entry is at a fixed place, so an agency's winners are read in a time that does not depend on the other agencies.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;

use super::draw_file::Extent;
use super::reader::Range;
use super::record::{self, Found, Reader, Record, Writer};
use super::slots::{Slot, Slots};
use crate::bet::AgencyId;
use crate::draw::Winners;

const MAGIC: &[u8; 4] = b"RES2";
const HEADER_LEN: usize = 32;
const ENTRY_LEN: u64 = 16;
const DOCUMENT_LEN: u64 = 4;
/// Bytes that are read in one call to check a result.
const BLOCK: usize = 64 * 1024;
/// Bytes at the front of a result that a query reads in one call: for up to about 250 agencies, all entries.
const FRONT: u64 = 4096;

/// The conditions under which the draw was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The number of agencies that took part.
    pub agencies: u32,
    /// The winning number.
    pub winning_number: u32,
    /// The committed length of `bets.csv` in bytes: the bets that took part.
    pub committed: u64,
}

/// The first record of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    terms: Terms,
    /// The number of entries.
    slots: u32,
}

impl Record<HEADER_LEN> for Header {
    fn encode(&self, into: &mut Writer<'_>) {
        let Terms { agencies, winning_number, committed } = self.terms;
        into.bytes(MAGIC).u32(agencies).u32(winning_number).u32(self.slots).u64(committed);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.magic(MAGIC)?;
        let (agencies, winning_number, slots) = (from.u32()?, from.u32()?, from.u32()?);
        Some(Self { terms: Terms { agencies, winning_number, committed: from.u64()? }, slots })
    }
}

/// The bytes of a result.
///
/// # Errors
/// `InvalidInput` if there are more than 2^32 - 1 winners, which no answer can count.
pub fn encode(terms: Terms, winners: &Winners, slots: &Slots) -> io::Result<Vec<u8>> {
    let too_many = |_| io::Error::new(io::ErrorKind::InvalidInput, "more than 4294967295 winners");
    let mut bytes = record::sealed(&Header { terms, slots: slots.count() }).to_vec();
    let mut documents = Vec::new();
    for agency in slots.agencies() {
        let first = u32::try_from(documents.len() as u64 / DOCUMENT_LEN).map_err(too_many)?;
        let own = agency.and_then(|agency| winners.get(&agency)).map_or(&[][..], Vec::as_slice);
        documents.extend(own.iter().flat_map(|document| document.to_be_bytes()));
        let (number, count) = (agency.map_or(0, |agency| agency.get()), u32::try_from(own.len()).map_err(too_many)?);
        let crc = crc32fast::hash(&documents[first as usize * DOCUMENT_LEN as usize..]);
        bytes.extend([number, first, count, crc].into_iter().flat_map(u32::to_be_bytes));
    }
    bytes.append(&mut documents);
    Ok(bytes)
}

/// Writes an encoded result at `offset`, and cuts the file off after it. The caller makes it durable.
///
/// # Errors
/// The error of ftruncate(2) or pwrite(2).
pub fn write(draw: &File, offset: u64, result: &[u8]) -> io::Result<Extent> {
    draw.set_len(offset)?;
    draw.write_all_at(result, offset)?;
    Ok(Extent { crc: crc32fast::hash(result), offset, len: result.len() as u64 })
}

/// The terms of a result. Does not check the winners.
///
/// # Errors
/// The error of pread(2).
pub fn terms(draw: &File, extent: Extent) -> io::Result<Option<Terms>> {
    Ok(record::read::<HEADER_LEN, Header>(draw, extent.offset)?.valid().map(|header| header.terms))
}

/// The terms of a result; `None` if any byte of it is wrong or missing.
///
/// # Errors
/// The error of pread(2).
pub fn verify(draw: &File, extent: Extent) -> io::Result<Option<Terms>> {
    let mut crc = crc32fast::Hasher::new();
    let mut range = Range::new(draw, extent.offset, extent.offset.saturating_add(extent.len));
    let (mut block, mut len) = (vec![0; BLOCK], 0);
    loop {
        match range.read(&mut block) {
            Ok(0) => break,
            Ok(read) => {
                crc.update(&block[..read]);
                len += read as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let is_whole = len == extent.len && len >= HEADER_LEN as u64 && crc.finalize() == extent.crc;
    if is_whole { terms(draw, extent) } else { Ok(None) }
}

/// The slots of the agencies in a result that has been verified.
///
/// # Errors
/// The error of pread(2).
pub fn slots(draw: &File, extent: Extent) -> io::Result<Vec<Slot>> {
    let Found::Valid(Header { slots, .. }) = record::read(draw, extent.offset)? else { return Ok(Vec::new()) };
    let bytes = part(draw, extent, HEADER_LEN as u64, u64::from(slots) * ENTRY_LEN)?;
    let agencies = bytes.as_chunks().0.iter().map(|entry| AgencyId::new(numbers(entry)[0]));
    Ok((0..).zip(agencies).filter_map(|(number, agency)| Some(Slot { agency: agency?, number })).collect())
}

/// The winners of one agency; `None` if its part of the result is not valid.
///
/// One pread(2) for the front of the result, and one each for the entry and the documents if they are after it.
///
/// # Errors
/// The error of pread(2).
pub fn winners(draw: &File, extent: Extent, slot: Slot) -> io::Result<Option<Vec<u32>>> {
    let front = part(draw, extent, 0, FRONT)?;
    let Some(header) = front.first_chunk() else { return Ok(None) };
    let Found::Valid(Header { slots, .. }) = record::opened(header) else { return Ok(None) };
    if slot.number >= slots {
        return Ok(Some(Vec::new()));
    }
    let in_front = |at, len| front.get(usize::try_from(at).ok()?..)?.get(..usize::try_from(len).ok()?);
    let read = |at: u64, len: u64| match in_front(at, len) {
        Some(bytes) => Ok(Cow::Borrowed(bytes)),
        None => part(draw, extent, at, len).map(Cow::Owned),
    };
    let entries = HEADER_LEN as u64;
    let entry = read(entries + u64::from(slot.number) * ENTRY_LEN, ENTRY_LEN)?;
    let Some([agency, first, count, crc]) = entry.first_chunk().map(numbers) else { return Ok(None) };
    let documents = entries + u64::from(slots) * ENTRY_LEN + u64::from(first) * DOCUMENT_LEN;
    let len = u64::from(count) * DOCUMENT_LEN;
    if agency != slot.agency.get() {
        return Ok(None);
    }
    let documents = if len == 0 { Cow::default() } else { read(documents, len)? };
    Ok((documents.len() as u64 == len && crc32fast::hash(&documents) == crc)
        .then(|| documents.as_chunks().0.iter().map(|document| u32::from_be_bytes(*document)).collect()))
}

/// The `len` bytes of a result from `at` on, as far as the result and the file have them.
fn part(draw: &File, extent: Extent, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let end = extent.offset.saturating_add(extent.len);
    let from = extent.offset.saturating_add(at);
    Range::new(draw, from, from.saturating_add(len).min(end)).up_to_end()
}

fn numbers(entry: &[u8; ENTRY_LEN as usize]) -> [u32; 4] {
    std::array::from_fn(|n| entry[n * 4..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    const TERMS: Terms = Terms { agencies: 3, winning_number: 7574, committed: 1 << 40 };
    const AT: u64 = 4096;

    fn id(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    fn slots() -> Slots {
        let mut slots = Slots::default();
        [1, 2, 9].into_iter().for_each(|agency| _ = slots.assign(id(agency)));
        slots
    }

    fn drawn(file: &File) -> Extent {
        let winners = Winners::from([(id(1), vec![5]), (id(9), vec![9, 3, 9])]);
        write(file, AT, &encode(TERMS, &winners, &slots()).unwrap()).unwrap()
    }

    #[test]
    fn winners_are_read_by_slot() {
        let file = tempfile::tempfile().unwrap();
        let extent = drawn(&file);
        assert_eq!((verify(&file, extent).unwrap(), terms(&file, extent).unwrap()), (Some(TERMS), Some(TERMS)));
        let of = |number, agency| winners(&file, extent, Slot { number, agency: id(agency) }).unwrap();
        assert_eq!([of(0, 1), of(1, 2), of(2, 9)], [vec![5], vec![], vec![9, 3, 9]].map(Some));
        assert_eq!((of(3, 4), of(2, 8)), (Some(vec![]), None));
        let found: Vec<_> = super::slots(&file, extent).unwrap();
        assert_eq!(found, slots().iter().collect::<Vec<_>>());
    }

    #[test]
    fn winners_of_large_results_are_read_by_slot() {
        let file = tempfile::tempfile().unwrap();
        let (mut slots, mut expected) = (Slots::default(), Winners::new());
        for agency in 1..=1000 {
            slots.assign(id(agency));
            expected.insert(id(agency), (0..agency % 7 * agency).collect());
        }
        // One agency has more documents than are read in one call.
        expected.insert(id(3), (0..100_000).collect());
        let extent = write(&file, AT, &encode(TERMS, &expected, &slots).unwrap()).unwrap();
        for slot in slots.iter() {
            assert_eq!(winners(&file, extent, slot).unwrap().as_ref(), expected.get(&slot.agency));
        }
    }

    #[test]
    fn winners_of_torn_or_flipped_results_are_the_same_or_none() {
        let file = tempfile::tempfile().unwrap();
        let extent = drawn(&file);
        let whole = Range::new(&file, AT, AT + extent.len).up_to_end().unwrap();
        let all = |file: &File| slots().iter().map(|slot| winners(file, extent, slot).unwrap()).collect::<Vec<_>>();
        let expected = all(&file);
        let differs = |changed: &[u8]| {
            file.set_len(AT).unwrap();
            file.write_all_at(changed, AT).unwrap();
            let found = all(&file);
            assert!(found.iter().zip(&expected).all(|(found, own)| found.is_none() || found == own));
            found != expected
        };
        let cuts = (0..whole.len()).filter(|&cut| !differs(&whole[..cut])).count();
        assert_eq!(cuts, 0, "each byte belongs to an agency with winners, or is before such a byte");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Only the place of the documents of an agency without winners is never used.
            let unused = HEADER_LEN + ENTRY_LEN as usize + 4..HEADER_LEN + ENTRY_LEN as usize + 8;
            assert!(differs(&flipped) || unused.contains(&(bit / 8)), "bit {bit}");
        }
    }

    #[test]
    fn torn_or_flipped_results_are_not_valid() {
        let file = tempfile::tempfile().unwrap();
        let extent = drawn(&file);
        let whole = Range::new(&file, AT, AT + extent.len).up_to_end().unwrap();
        for cut in 0..extent.len {
            file.set_len(AT + cut).unwrap();
            assert_eq!(verify(&file, extent).unwrap(), None, "{cut} bytes");
            file.write_all_at(&whole, AT).unwrap();
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            file.write_all_at(&flipped, AT).unwrap();
            assert_eq!(verify(&file, extent).unwrap(), None, "bit {bit}");
        }
    }
}

//! The file `draw`: the result of the draw, written once by the process that holds the draw, and final.
//!
//! Layout, big-endian: magic, agencies, winning number, committed length of the bets, number of entries; an entry for each
//! agency with winners {agency, count, CRC-32 of its documents}; the CRC-32 of all bytes so far; the documents, agency by
//! agency. The file is empty before the draw. A file with a wrong checksum holds no result.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::reader::Range;
use crate::bet::AgencyId;
use crate::draw::Winners;

const MAGIC: &[u8; 8] = b"LOTDRAW1";
const HEADER_LEN: usize = 8 + 4 + 4 + 8 + 4;
const ENTRY_LEN: usize = 3 * 4;
const CHECKSUM_LEN: usize = 4;
const DOCUMENT_LEN: usize = 4;

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

/// The part of the result before the documents.
#[derive(Debug)]
struct Index {
    terms: Terms,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    agency: u32,
    count: u32,
    crc: u32,
}

/// Writes the result. The caller makes it durable.
///
/// # Errors
/// The error of ftruncate(2) or pwrite(2), after which the file may hold a part of the result; `InvalidInput`, if an agency
/// has more than 2^32 - 1 winners, which no answer can count.
pub fn write(file: &File, terms: Terms, winners: &Winners) -> io::Result<()> {
    let documents: Vec<Vec<u8>> = winners.values().map(|documents| encode_documents(documents)).collect();
    let too_many = |_| io::Error::new(io::ErrorKind::InvalidInput, "an agency has more than 4294967295 winners");
    let entry = |((agency, winners), bytes): ((&AgencyId, &Vec<u32>), &Vec<u8>)| {
        let count = u32::try_from(winners.len()).map_err(too_many)?;
        Ok(Entry { agency: agency.get(), count, crc: crc32fast::hash(bytes) })
    };
    let entries = winners.iter().zip(&documents).map(entry).collect::<io::Result<_>>()?;
    let mut bytes = Index { terms, entries }.encode();
    bytes.extend(documents.iter().flatten());
    file.set_len(0)?;
    file.write_all_at(&bytes, 0)
}

/// The terms of the result; `None` if the index is not valid. Does not check the documents.
///
/// # Errors
/// The error of fstat(2) or pread(2).
pub fn terms(file: &File) -> io::Result<Option<Terms>> {
    Ok(Index::read(file)?.map(|index| index.terms))
}

/// The terms of the result; `None` if any part of it is not valid.
///
/// # Errors
/// The error of fstat(2) or pread(2).
pub fn verify(file: &File) -> io::Result<Option<Terms>> {
    let Some(index) = Index::read(file)? else { return Ok(None) };
    for entry in &index.entries {
        if index.documents(file, entry.agency)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(index.terms))
}

/// The winners of one agency; `None` if the file holds no valid result.
///
/// # Errors
/// The error of fstat(2) or pread(2).
pub fn winners(file: &File, agency: AgencyId) -> io::Result<Option<Vec<u32>>> {
    match Index::read(file)? {
        Some(index) => index.documents(file, agency.get()),
        None => Ok(None),
    }
}

/// Whether `front`, the first bytes of a file, were written by another program: neither zeros, as a power cut may leave
/// them, nor similar to a result.
pub fn is_foreign(front: &[u8]) -> bool {
    let same = front.iter().zip(MAGIC).filter(|(byte, expected)| byte == expected).count();
    same * 2 < front.len().min(MAGIC.len()) && front.iter().take(MAGIC.len()).any(|&byte| byte != 0)
}

impl Index {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let entries = u32::try_from(self.entries.len()).expect("agency numbers have 32 bits, and each has one entry");
        bytes.extend(self.terms.agencies.to_be_bytes());
        bytes.extend(self.terms.winning_number.to_be_bytes());
        bytes.extend(self.terms.committed.to_be_bytes());
        bytes.extend(entries.to_be_bytes());
        for entry in &self.entries {
            bytes.extend([entry.agency, entry.count, entry.crc].into_iter().flat_map(u32::to_be_bytes));
        }
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    fn read(file: &File) -> io::Result<Option<Self>> {
        let Some(header) = bytes_at(file, 0, HEADER_LEN)? else { return Ok(None) };
        let entries = u32_at(&header, HEADER_LEN - 4) as usize;
        let len = HEADER_LEN + entries * ENTRY_LEN;
        // The number of entries is still unchecked, but no more is read than the file has.
        let Some(bytes) = bytes_at(file, 0, len + CHECKSUM_LEN)? else { return Ok(None) };
        let (bytes, checksum) = bytes.split_at(len);
        let valid = bytes.starts_with(MAGIC) && crc32fast::hash(bytes).to_be_bytes() == checksum;
        Ok(valid.then(|| Self::decode(bytes)))
    }

    fn decode(bytes: &[u8]) -> Self {
        let entry = |bytes: &[u8]| Entry { agency: u32_at(bytes, 0), count: u32_at(bytes, 4), crc: u32_at(bytes, 8) };
        let terms = Terms {
            agencies: u32_at(bytes, 8),
            winning_number: u32_at(bytes, 12),
            committed: u64::from(u32_at(bytes, 16)) << 32 | u64::from(u32_at(bytes, 20)),
        };
        Self { terms, entries: bytes[HEADER_LEN..].chunks_exact(ENTRY_LEN).map(entry).collect() }
    }

    /// The documents of `agency`, empty if it has no entry; `None` if they are not valid.
    fn documents(&self, file: &File, agency: u32) -> io::Result<Option<Vec<u32>>> {
        let mut offset = HEADER_LEN + self.entries.len() * ENTRY_LEN + CHECKSUM_LEN;
        for entry in &self.entries {
            let len = entry.count as usize * DOCUMENT_LEN;
            if entry.agency == agency {
                let bytes = bytes_at(file, offset as u64, len)?.filter(|bytes| crc32fast::hash(bytes) == entry.crc);
                return Ok(bytes.map(|bytes| bytes.chunks_exact(DOCUMENT_LEN).map(|b| u32_at(b, 0)).collect()));
            }
            offset += len;
        }
        Ok(Some(Vec::new()))
    }
}

fn encode_documents(documents: &[u32]) -> Vec<u8> {
    documents.iter().flat_map(|document| document.to_be_bytes()).collect()
}

/// Exactly `len` bytes at `offset`; `None` if the file ends before.
fn bytes_at(file: &File, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    Range::new(file, offset, offset + len as u64).whole()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(*bytes[offset..].first_chunk().expect("the caller has read these bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_or_flipped_results_are_not_valid() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(verify(&file).unwrap(), None);
        let id = |id| AgencyId::new(id).unwrap();
        let drawn = Winners::from([(id(1), vec![5]), (id(4), vec![9, 3, 9])]);
        let drawn_on = Terms { agencies: 5, winning_number: 7574, committed: 1 << 40 };
        write(&file, drawn_on, &drawn).unwrap();
        assert_eq!((verify(&file).unwrap(), terms(&file).unwrap()), (Some(drawn_on), Some(drawn_on)));
        assert_eq!(winners(&file, id(4)).unwrap().unwrap(), [9, 3, 9]);
        assert!(winners(&file, id(2)).unwrap().unwrap().is_empty());

        let len = file.metadata().unwrap().len();
        let whole = bytes_at(&file, 0, len as usize).unwrap().unwrap();
        for cut in 0..len {
            file.set_len(cut).unwrap();
            assert_eq!(verify(&file).unwrap(), None, "{cut} bytes");
            file.write_all_at(&whole, 0).unwrap();
        }
        for bit in 0..len * 8 {
            let mut flipped = whole.clone();
            flipped[bit as usize / 8] ^= 1 << (bit % 8);
            file.write_all_at(&flipped, 0).unwrap();
            assert_eq!(verify(&file).unwrap(), None, "bit {bit}");
        }
    }
}

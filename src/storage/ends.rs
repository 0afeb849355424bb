//! The file `ends`: a record of fixed size for each agency that has ended, each with its own checksum.
//!
//! Records are appended under the data lock, and also read without it: a torn record does not count.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;

use super::reader::Range;
use crate::bet::AgencyId;

const MAGIC: &[u8; 4] = b"FIN1";
/// Bytes of magic and agency. Their checksum follows.
const BODY_LEN: usize = 8;
const LEN: usize = BODY_LEN + 4;

/// The agencies that have ended.
///
/// # Errors
/// The error of pread(2).
pub fn read(file: &File) -> io::Result<BTreeSet<AgencyId>> {
    Ok(records(&bytes(file)?).collect())
}

/// Adds `agency`, unless it is already there. Call it under the data lock.
///
/// # Errors
/// The error of pread(2) or pwrite(2); then nothing has been added.
pub fn append(file: &File, agency: AgencyId) -> io::Result<()> {
    let bytes = bytes(file)?;
    if records(&bytes).any(|ended| ended == agency) {
        return Ok(());
    }
    // After the last whole record: this overwrites the torn record of a killed writer.
    let end = (bytes.len() - bytes.len() % LEN) as u64;
    file.write_all_at(&encode(agency), end).inspect_err(|_| {
        let _ = file.set_len(end);
    })
}

/// Whether `front`, the first bytes of a file, were written by another program: neither zeros, as a power cut may leave
/// them, nor similar to a record.
pub fn is_foreign(front: &[u8]) -> bool {
    let same = front.iter().zip(MAGIC).filter(|(byte, expected)| byte == expected).count();
    same * 2 < front.len().min(MAGIC.len()) && front.iter().take(MAGIC.len()).any(|&byte| byte != 0)
}

fn bytes(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Range::new(file, 0, u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn records(bytes: &[u8]) -> impl Iterator<Item = AgencyId> {
    bytes.chunks_exact(LEN).filter_map(decode)
}

fn encode(agency: AgencyId) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let (body, checksum) = bytes.split_at_mut(BODY_LEN);
    body[..4].copy_from_slice(MAGIC);
    body[4..].copy_from_slice(&agency.get().to_be_bytes());
    checksum.copy_from_slice(&crc32fast::hash(body).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<AgencyId> {
    let (body, checksum) = bytes.split_at_checked(BODY_LEN)?;
    let agency = body.strip_prefix(MAGIC)?.try_into().ok()?;
    (crc32fast::hash(body).to_be_bytes() == checksum).then(|| AgencyId::new(u32::from_be_bytes(agency)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u32]) -> BTreeSet<AgencyId> {
        ids.iter().filter_map(|&id| AgencyId::new(id)).collect()
    }

    #[test]
    fn torn_records_of_ends_do_not_count() {
        let file = tempfile::tempfile().unwrap();
        for id in [3, 1, 3] {
            append(&file, AgencyId::new(id).unwrap()).unwrap();
        }
        assert_eq!(file.metadata().unwrap().len(), 2 * LEN as u64);
        for torn in 1..LEN {
            file.set_len(2 * LEN as u64).unwrap();
            file.write_all_at(&encode(AgencyId::new(7).unwrap())[..torn], 2 * LEN as u64).unwrap();
            assert_eq!(read(&file).unwrap(), ids(&[1, 3]), "{torn} bytes");
        }
        append(&file, AgencyId::new(5).unwrap()).unwrap();
        assert_eq!(read(&file).unwrap(), ids(&[1, 3, 5]));
    }
}

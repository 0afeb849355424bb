//! How long `bets.csv` is by right: a record of fixed size at the front of `bets.lock`.
//!
//! One small pwrite(2), so no kill tears it; read and written under the lock alone, as a read beside a write can be torn.
//! It is never synced: it matters within one boot, which is why it names that boot.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::{Identity, read_front};

/// Where the kernel tells which boot this is.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MAGIC: &[u8; 8] = b"LOTBETS1";
/// The same, of a record that is doubtful.
const DOUBTFUL: &[u8; 8] = b"LOTBETS?";
/// Bytes of the boot's name: a UUID as text.
const BOOT_LEN: usize = 36;
/// Magic, boot, device, inode, committed length; then the checksum of these.
const BODY_LEN: usize = 8 + BOOT_LEN + 3 * 8;
const LEN: usize = BODY_LEN + 4;

/// What is committed, of which file, in which boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    boot: [u8; BOOT_LEN],
    device: u64,
    inode: u64,
    /// Bytes of `bets.csv` that are bets.
    pub committed: u64,
    /// A sync has failed: some of these bytes may not be on the disk, and nobody may count on them.
    pub doubtful: bool,
}

impl Record {
    /// For the file `of`, in this boot.
    ///
    /// # Errors
    /// What reading [`BOOT_ID`] reports.
    pub fn new((device, inode): Identity, committed: u64) -> io::Result<Self> {
        Ok(Self { boot: this_boot()?, device, inode, committed, doubtful: false })
    }

    /// The same with more bytes committed.
    pub fn grown_by(self, bytes: u64) -> Self {
        Self { committed: self.committed + bytes, ..self }
    }

    /// The record in `lock`; `None` where there is none or its checksum is wrong.
    ///
    /// # Errors
    /// What pread(2) reports.
    pub fn read(lock: &File) -> io::Result<Option<Self>> {
        Ok(read_front::<LEN>(lock)?.and_then(|bytes| Self::decode(&bytes)))
    }

    /// Puts the record into `lock`.
    ///
    /// # Errors
    /// What pwrite(2) reports.
    pub fn write(&self, lock: &File) -> io::Result<()> {
        lock.write_all_at(&self.encode(), 0)
    }

    /// Whether it speaks of `file`.
    pub fn is_of(&self, file: Identity) -> bool {
        (self.device, self.inode) == file
    }

    /// Whether it was written in this boot.
    ///
    /// # Errors
    /// What reading [`BOOT_ID`] reports.
    pub fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(self.boot == this_boot()?)
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let (body, checksum) = bytes.split_at_mut(BODY_LEN);
        body[..8].copy_from_slice(if self.doubtful { DOUBTFUL } else { MAGIC });
        body[8..8 + BOOT_LEN].copy_from_slice(&self.boot);
        for (field, value) in body[8 + BOOT_LEN..].chunks_exact_mut(8).zip([self.device, self.inode, self.committed]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        checksum.copy_from_slice(&crc32fast::hash(body).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let (body, checksum) = bytes.split_at(BODY_LEN);
        if crc32fast::hash(body).to_be_bytes() != checksum {
            return None;
        }
        let doubtful = body.starts_with(DOUBTFUL);
        let (boot, numbers) = body.strip_prefix(if doubtful { DOUBTFUL } else { MAGIC })?.split_at(BOOT_LEN);
        let mut numbers = numbers.chunks_exact(8).map(|number| number.try_into().map(u64::from_be_bytes));
        let mut next = || numbers.next()?.ok();
        Some(Self { boot: boot.try_into().ok()?, device: next()?, inode: next()?, committed: next()?, doubtful })
    }
}

fn this_boot() -> io::Result<[u8; BOOT_LEN]> {
    let id = fs::read(BOOT_ID)?;
    id.first_chunk().copied().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no boot id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_written_and_any_flipped_bit_voids_it() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Record::read(&file).unwrap(), None);
        let record = Record::new((1, 2), 4711).unwrap();
        record.write(&file).unwrap();
        assert_eq!(Record::read(&file).unwrap(), Some(record));
        assert!(record.is_of((1, 2)) && !record.is_of((1, 3)) && record.is_of_this_boot().unwrap());
        let bytes = record.encode();
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&flipped), None, "bit {bit}");
        }
    }
}

//! The record of the committed length: a few bytes of fixed size at the front of `bets.lock`.
//!
//! It is written by one small pwrite(2), which no kill tears. It is read and written only under the data lock, because a
//! read beside a write can be torn. It is never synced: it is valid within one boot, and names that boot.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::identity::Identity;
use super::reader::Range;

/// The file in which the kernel identifies the current boot.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MAGIC: &[u8; 8] = b"LOTBETS1";
/// The magic of a doubtful record.
const DOUBTFUL: &[u8; 8] = b"LOTBETS?";
/// Bytes of the boot id: a UUID as text.
const BOOT_LEN: usize = 36;
/// The boot in a record that was written without a boot id.
const UNKNOWN_BOOT: [u8; BOOT_LEN] = [0; BOOT_LEN];
/// Bytes of magic, boot, device, inode and committed length. Their checksum follows.
const BODY_LEN: usize = 8 + BOOT_LEN + 3 * 8;
const LEN: usize = BODY_LEN + 4;

/// The committed length of one file, valid in one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    boot: [u8; BOOT_LEN],
    file: Identity,
    /// Bytes of `bets.csv` that are bets.
    pub committed: u64,
    /// A sync has failed: some of these bytes may not be on the disk, and nobody may rely on them.
    pub doubtful: bool,
}

impl Record {
    /// A record of `file` in the current boot.
    ///
    /// # Errors
    /// The error of reading [`BOOT_ID`], but that it does not exist.
    pub fn new(file: Identity, committed: u64) -> io::Result<Self> {
        Ok(Self { boot: this_boot()?.unwrap_or(UNKNOWN_BOOT), file, committed, doubtful: false })
    }

    /// This record with `bytes` more bytes committed.
    pub fn grown_by(self, bytes: u64) -> Self {
        Self { committed: self.committed + bytes, ..self }
    }

    /// The record in `lock`; `None` if there is none, or if its checksum is wrong.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn read(lock: &File) -> io::Result<Option<Self>> {
        Ok(Range::new(lock, 0, LEN as u64).array::<LEN>()?.and_then(|bytes| Self::decode(&bytes)))
    }

    /// Writes the record into `lock`.
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub fn write(&self, lock: &File) -> io::Result<()> {
        lock.write_all_at(&self.encode(), 0)
    }

    /// Whether it describes `file`.
    pub fn is_of(&self, file: Identity) -> bool {
        self.file == file
    }

    /// Whether it was certainly written in the current boot: never, if the kernel does not identify the boot.
    ///
    /// # Errors
    /// The error of reading [`BOOT_ID`], but that it does not exist.
    pub fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(Some(self.boot) == this_boot()?)
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let (body, checksum) = bytes.split_at_mut(BODY_LEN);
        body[..8].copy_from_slice(if self.doubtful { DOUBTFUL } else { MAGIC });
        body[8..8 + BOOT_LEN].copy_from_slice(&self.boot);
        for (field, value) in
            body[8 + BOOT_LEN..].chunks_exact_mut(8).zip([self.file.device, self.file.inode, self.committed])
        {
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
        let file = Identity { device: next()?, inode: next()? };
        Some(Self { boot: boot.try_into().ok()?, file, committed: next()?, doubtful })
    }
}

/// Whether the kernel identifies the current boot. Some containers and systems hide the file.
///
/// # Errors
/// The error of reading [`BOOT_ID`], but that it does not exist.
pub fn boot_is_known() -> io::Result<bool> {
    Ok(this_boot()?.is_some())
}

/// `None` if the kernel does not identify the boot. A failed read is not the same: the record of this boot would not be
/// believed, and a tail past its committed length would count.
fn this_boot() -> io::Result<Option<[u8; BOOT_LEN]>> {
    match fs::read(BOOT_ID) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        id => Ok(id?.first_chunk().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_voids_a_record() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Record::read(&file).unwrap(), None);
        let [this, other] = [2, 3].map(|inode| Identity { device: 1, inode });
        let record = Record::new(this, 4711).unwrap();
        record.write(&file).unwrap();
        assert_eq!(Record::read(&file).unwrap(), Some(record));
        assert!(record.is_of(this) && !record.is_of(other) && record.is_of_this_boot().unwrap());
        let bytes = record.encode();
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&flipped), None, "bit {bit}");
        }
    }
}

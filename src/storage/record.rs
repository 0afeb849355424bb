//! Records of fixed size: big-endian fields, and the CRC-32 of all bytes before it at the end.
//!
//! Used by the layouts of `books` and `draw`.

use std::fs::File;
use std::io;

use super::reader::Range;

const CRC_LEN: usize = 4;

/// The content of a place for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<T> {
    /// Zeros, or the file ends before: nothing was ever written there.
    Blank,
    /// Neither zeros nor a valid record.
    Damaged,
    /// A valid record.
    Valid(T),
}

impl<T> Found<T> {
    /// The record, if it is valid.
    pub fn valid(self) -> Option<T> {
        match self {
            Self::Valid(record) => Some(record),
            Self::Blank | Self::Damaged => None,
        }
    }
}

/// A record of `N` bytes.
pub trait Record<const N: usize>: Sized {
    /// Writes the fields.
    fn encode(&self, into: &mut Writer<'_>);

    /// The record, if its fields have allowed values.
    fn decode(from: &mut Reader<'_>) -> Option<Self>;
}

/// The bytes of `record`. Fields that it does not write are zeros.
pub fn sealed<const N: usize>(record: &impl Record<N>) -> [u8; N] {
    let mut bytes = [0; N];
    let (body, checksum) = bytes.split_at_mut(N - CRC_LEN);
    record.encode(&mut Writer(body));
    checksum.copy_from_slice(&crc32fast::hash(body).to_be_bytes());
    bytes
}

/// The record in `bytes`.
pub fn opened<const N: usize, T: Record<N>>(bytes: &[u8; N]) -> Found<T> {
    let (body, checksum) = bytes.split_at(N - CRC_LEN);
    if bytes.iter().all(|&byte| byte == 0) {
        return Found::Blank;
    }
    let intact = crc32fast::hash(body).to_be_bytes() == checksum;
    intact.then(|| T::decode(&mut Reader(body))).flatten().map_or(Found::Damaged, Found::Valid)
}

/// The record at `offset` of `file`.
///
/// # Errors
/// The error of pread(2).
pub fn read<const N: usize, T: Record<N>>(file: &File, offset: u64) -> io::Result<Found<T>> {
    let bytes = Range::new(file, offset, offset + N as u64).array_or_zeros()?;
    Ok(opened(&bytes))
}

/// Writes fields one after the other.
pub struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    /// Writes `bytes`.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let (field, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        field.copy_from_slice(bytes);
        self.0 = rest;
        self
    }

    /// Writes a number of 32 bits.
    pub fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Writes a number of 64 bits.
    pub fn u64(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }
}

/// Reads fields one after the other; `None` after the last byte.
pub struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    /// `Some` if the next bytes are `expected`.
    pub fn magic<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        (self.array()? == *expected).then_some(())
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

/// For tests of layouts: every flipped bit must be noticed.
#[cfg(test)]
pub fn assert_every_bit_counts<const N: usize, T: Record<N> + PartialEq + std::fmt::Debug>(record: T) {
    let bytes = sealed(&record);
    assert_eq!(opened::<N, T>(&[0; N]), Found::Blank);
    for bit in 0..N * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opened::<N, T>(&flipped), Found::Damaged, "bit {bit}");
    }
    assert_eq!(opened(&bytes), Found::Valid(record));
}

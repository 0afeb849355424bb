//! The layout of `draw`: the ends of the agencies, and where the result of the draw is.
//!
//! A *unit* is the durable record of an end. It holds the agency's tally, so that a start and the draw can prove that
//! all its rows are there.
//!
//! | offset | record |
//! |---|---|
//! | 0 | [`Header`] |
//! | 32 | [`ResultRecord`] of the result |
//! | 64 + 32 n | [`Unit`] of slot n |
//! | the first multiple of 4096 after the units | the result ([`super::results`]) |
//!
//! No record crosses a page. Everything in this file is believed in every boot.

use std::fs::File;
use std::io;
use std::ops;
use std::os::unix::fs::FileExt;

use super::reader::Range;
use super::record::{self, Found, Reader, Record, Writer};
use super::slots;
use crate::bet::AgencyId;
use crate::row::Tally;

const MAGIC: &[u8; 8] = b"LOTDRAW2";
const PLANNED: &[u8; 4] = b"NEXT";
const HELD: &[u8; 4] = b"HELD";
const UNIT: &[u8; 4] = b"FIN2";
const LEN: usize = 32;
const PLACE_AT: u64 = 32;
const UNITS_AT: u64 = 64;
const PAGE: u64 = 4096;

/// The first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// When the lottery began, in seconds since 1970.
    pub began: u64,
}

impl Record<LEN> for Header {
    fn encode(&self, into: &mut Writer<'_>) {
        into.bytes(MAGIC).u64(self.began);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.magic(MAGIC)?;
        Some(Self { began: from.u64()? })
    }
}

impl Header {
    /// The header of `draw`.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn read(draw: &File) -> io::Result<Found<Self>> {
        record::read(draw, 0)
    }

    /// Writes the header.
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub fn write(&self, draw: &File) -> io::Result<()> {
        draw.write_all_at(&record::sealed(self), 0)
    }
}

/// Where the result of the draw is, and whether it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultRecord {
    /// A process is about to write the result, which does not count yet. Units end before it.
    Planned {
        /// The offset of the result.
        offset: u64,
    },
    /// The draw is held.
    Held(Extent),
}

/// The bytes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// CRC-32 of the result.
    pub crc: u32,
    /// Its offset in `draw`.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl Record<LEN> for ResultRecord {
    fn encode(&self, into: &mut Writer<'_>) {
        match *self {
            Self::Planned { offset } => into.bytes(PLANNED).u32(0).u64(offset),
            Self::Held(Extent { crc, offset, len }) => into.bytes(HELD).u32(crc).u64(offset).u64(len),
        };
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (magic, crc, offset, len) = (from.array::<4>()?, from.u32()?, from.u64()?, from.u64()?);
        // A result elsewhere would overlap the units, or make the file larger than any lottery needs.
        if !offset.is_multiple_of(PAGE) || offset == 0 || offset > result_offset(slots::MOST) {
            return None;
        }
        match &magic {
            PLANNED => Some(Self::Planned { offset }),
            HELD => Some(Self::Held(Extent { crc, offset, len })),
            _ => None,
        }
    }
}

impl ResultRecord {
    /// The record of `draw`.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn read(draw: &File) -> io::Result<Found<Self>> {
        record::read(draw, PLACE_AT)
    }

    /// Writes the record.
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub fn write(&self, draw: &File) -> io::Result<()> {
        draw.write_all_at(&record::sealed(self), PLACE_AT)
    }

    /// Removes the record, so that nothing says that there is a result.
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub fn clear(draw: &File) -> io::Result<()> {
        draw.write_all_at(&[0; LEN], PLACE_AT)
    }
}

/// The bytes of the result, if the draw is held.
///
/// # Errors
/// The error of pread(2).
pub fn held(draw: &File) -> io::Result<Option<Extent>> {
    match ResultRecord::read(draw)? {
        Found::Valid(ResultRecord::Held(extent)) => Ok(Some(extent)),
        _ => Ok(None),
    }
}

/// The offset of the result after the units of `slots` slots.
pub fn result_offset(slots: u32) -> u64 {
    unit_at(slots).next_multiple_of(PAGE)
}

/// The end of one agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// The agency.
    pub agency: AgencyId,
    /// All its rows.
    pub tally: Tally,
}

impl Record<LEN> for Unit {
    fn encode(&self, into: &mut Writer<'_>) {
        into.bytes(UNIT).u32(self.agency.get()).u64(self.tally.count).u32(self.tally.crc);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.magic(UNIT)?;
        let agency = AgencyId::new(from.u32()?)?;
        Some(Self { agency, tally: Tally { count: from.u64()?, crc: from.u32()? } })
    }
}

impl Unit {
    /// Writes the unit of slot `number`.
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub fn write(&self, draw: &File, number: u32) -> io::Result<()> {
        draw.write_all_at(&record::sealed(self), unit_at(number))
    }

    /// The place of the unit of slot `number`.
    pub fn place(number: u32) -> ops::Range<u32> {
        let at = u32::try_from(unit_at(number)).expect("the units have at most 32 MB");
        at..at + LEN as u32
    }
}

/// Whether the unit of slot `number` ends at or before offset `end`.
pub fn is_before(number: u32, end: u64) -> bool {
    unit_at(number) + LEN as u64 <= end
}

fn unit_at(number: u32) -> u64 {
    UNITS_AT + u64::from(number) * LEN as u64
}

/// The units of `draw`, by the number of their slot. They end at offset `end`, or with the file.
///
/// # Errors
/// The error of pread(2).
pub fn units(draw: &File, end: Option<u64>) -> io::Result<Vec<Found<Unit>>> {
    let most = result_offset(slots::MOST);
    let mut bytes = Range::new(draw, UNITS_AT, end.unwrap_or(most).min(most)).up_to_end()?;
    bytes.resize(bytes.len().next_multiple_of(LEN), 0);
    let mut units: Vec<_> = bytes.as_chunks::<LEN>().0.iter().map(record::opened).collect();
    while units.pop_if(|unit| *unit == Found::Blank).is_some() {}
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_record_counts() {
        record::assert_every_bit_counts(Header { began: 1_764_000_000 });
        record::assert_every_bit_counts(ResultRecord::Planned { offset: 4096 });
        record::assert_every_bit_counts(ResultRecord::Held(Extent { crc: 7, offset: 8192, len: 99 }));
        for offset in [0, 64, 4097, 1 << 40, u64::MAX] {
            let found: Found<ResultRecord> = record::opened(&record::sealed(&ResultRecord::Planned { offset }));
            assert_eq!(found, Found::Damaged, "a result at {offset}");
        }
        let tally = Tally { count: 1000, crc: 0x1234_5678 };
        record::assert_every_bit_counts(Unit { agency: AgencyId::new(u32::MAX).unwrap(), tally });
    }

    #[test]
    fn units_end_where_the_result_begins() {
        let draw = tempfile::tempfile().unwrap();
        let unit = |id| Unit { agency: AgencyId::new(id).unwrap(), tally: Tally::default() };
        for number in [0, 2] {
            unit(number + 1).write(&draw, number).unwrap();
        }
        let found = [Found::Valid(unit(1)), Found::Blank, Found::Valid(unit(3))];
        assert_eq!(units(&draw, None).unwrap(), found);
        assert_eq!([1, 126, 127].map(result_offset), [4096, 4096, 8192]);
        draw.write_all_at(b"RES2", result_offset(3)).unwrap();
        assert_eq!(units(&draw, Some(result_offset(3))).unwrap(), found);
        assert_eq!(units(&draw, None).unwrap().last(), Some(&Found::Damaged));
    }
}

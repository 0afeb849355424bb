//! The records of a damaged lottery: what `books` and `draw` still prove.
//!
//! Each record has its own checksum, so those that are valid count although others are damaged.

use std::collections::HashMap;
use std::io;

use super::adoption::{Books, OnDisk};
use super::books::{self, Header, Pair};
use super::draw_file::{self, ResultRecord, Unit};
use super::error::{Error, Result};
use super::record::Found;
use super::slots::Slot;
use crate::bet::AgencyId;
use crate::row::Tally;

/// The valid records of `books` and `draw`.
pub struct Evidence<'a> {
    /// `books`, if its header is valid.
    pub books: Option<Books<'a>>,
    /// The slots prove the rows of their agencies: the books are of this boot, and no sync has failed.
    pub slots_prove: bool,
    /// A half of the head is valid.
    pub has_head: bool,
    /// Bytes of `bets.csv` past this offset are not bets, as far as the books of this boot record that.
    pub limit: u64,
    /// The draw has been held, as the books have it.
    pub was_drawn: bool,
    /// When the lottery began, in seconds since 1970.
    pub began: Option<u64>,
    /// Where the result is.
    pub place: Found<ResultRecord>,
    /// The ends, by the numbers of their slots.
    pub units: Vec<Found<Unit>>,
}

/// The rows that an agency must have.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    /// Count and CRC-32 of the rows.
    pub tally: Tally,
    /// The agency has ended with them.
    pub has_ended: bool,
}

impl<'a> Evidence<'a> {
    /// Reads the records.
    ///
    /// # Errors
    /// [`Error::Io`] if fstat(2) or pread(2) fails.
    pub fn read(on_disk: &OnDisk<'a>) -> Result<Self> {
        let OnDisk { paths, books: file, .. } = *on_disk;
        let read = || Error::io("read", &paths.books);
        let header = file.map(Header::read).transpose().map_err(read())?.and_then(Found::valid);
        let books = match file.zip(header) {
            Some((file, header)) => match Books::read(paths, file, header) {
                Err(Error::Damaged { .. }) => None,
                books => Some(books?),
            },
            None => None,
        };
        // The head has a checksum of its own: it counts although the header is damaged.
        let head = file.map(Pair::read_head).transpose().map_err(read())?;
        let mut evidence = Self {
            books,
            slots_prove: false,
            has_head: head.is_some_and(|pair| pair.newest().is_some()),
            limit: on_disk.len,
            was_drawn: head.is_some_and(|pair| pair.valid().any(|half| half.is_drawn)),
            began: None,
            place: Found::Blank,
            units: Vec::new(),
        };
        if on_disk.boot.is_some() && header.and_then(|header| header.boot) == on_disk.boot {
            evidence.read_limit(on_disk.len).map_err(read())?;
        }
        evidence.read_draw(on_disk).map_err(Error::io("read", &paths.draw))?;
        Ok(evidence)
    }

    /// Sets the limit from books of this boot: the committed length, otherwise where the last group of any slot ends.
    fn read_limit(&mut self, len: u64) -> io::Result<()> {
        let Some(books) = &self.books else { return Ok(()) };
        let newest = books.head.newest();
        self.slots_prove = newest.is_none_or(|head| !head.is_doubtful);
        let committed = match newest {
            Some(head) => books::rolled_forward(books.file, head, len)?.unwrap_or(head).committed,
            None => books.entries().map(|(_, entry)| entry.end).max().unwrap_or(0),
        };
        self.limit = committed.min(len);
        Ok(())
    }

    fn read_draw(&mut self, on_disk: &OnDisk<'_>) -> io::Result<()> {
        let Some(draw) = on_disk.draw else { return Ok(()) };
        self.began = draw_file::Header::read(draw)?.valid().map(|header| header.began);
        self.place = ResultRecord::read(draw)?;
        let end = match (self.place, &self.books) {
            (Found::Valid(ResultRecord::Held(extent)), _) => Some(extent.offset),
            (Found::Valid(ResultRecord::Planned { offset }), _) => Some(offset),
            (Found::Damaged | Found::Blank, Some(books)) if self.slots_prove => {
                Some(draw_file::result_offset(books.slots.len() as u32))
            }
            (Found::Damaged | Found::Blank, _) => None,
        };
        self.units = draw_file::units(draw, end)?;
        Ok(())
    }

    /// Whether there may have been ends of which no record is left: `draw` is gone or unreadable, and only books of this boot
    /// would know them.
    pub fn has_lost_ends(&self) -> bool {
        self.began.is_none() && self.units.is_empty() && !self.slots_prove
    }

    /// Whether no record is valid: the files may belong to another program.
    pub fn is_empty(&self) -> bool {
        self.books.is_none() && self.began.is_none() && self.valid_units().next().is_none()
    }

    /// The valid ends, with the numbers of their slots.
    pub fn valid_units(&self) -> impl Iterator<Item = (u32, Unit)> {
        (0..).zip(&self.units).filter_map(|(number, unit)| Some((number, unit.valid()?)))
    }

    /// The slots in the books, with the numbers; none without books.
    pub fn entries(&self) -> impl Iterator<Item = (u32, books::Entry)> {
        self.books.iter().flat_map(Books::entries)
    }

    /// The agencies with a valid unit or a closed slot. Some may be repeated.
    pub fn ends(&self) -> impl Iterator<Item = Slot> {
        let closed = self.entries().filter(|(_, entry)| entry.is_closed).map(|(number, entry)| (number, entry.agency));
        let units = self.valid_units().map(|(number, unit)| (number, unit.agency));
        closed.chain(units).map(|(number, agency)| Slot { agency, number })
    }

    /// The proofs of each agency: ends first, then slots of this boot.
    pub fn proofs(&self) -> HashMap<AgencyId, Vec<Proof>> {
        let mut proofs: HashMap<_, Vec<_>> = HashMap::new();
        for (_, Unit { agency, tally }) in self.valid_units() {
            proofs.entry(agency).or_default().push(Proof { tally, has_ended: true });
        }
        for (_, entry) in self.entries().filter(|_| self.slots_prove) {
            let proof = Proof { tally: entry.tally, has_ended: entry.is_closed };
            proofs.entry(entry.agency).or_default().push(proof);
        }
        proofs
    }

    /// Whether an agency without slot has no rows: so it is in books of this boot whose slots can all be read.
    pub fn knows_all_agencies(&self) -> bool {
        let can_be_read = |pair: &Pair<_>| pair.newest().is_some() || pair.is_blank();
        self.slots_prove && self.books.as_ref().is_some_and(|books| books.slots.iter().all(can_be_read))
    }
}

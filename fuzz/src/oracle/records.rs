//! The records of `books` and `draw`, as `docs/storage.md` describes them. Reads one record at a time. Can also give a
//! record the right magic and checksum.

use loteria::bet::AgencyId;
use loteria::row::Tally;
use loteria::storage::Terms;

use super::numbers::{crc32, number};

/// Bytes of a record of `books`.
pub const HALF: usize = 64;
/// Bytes of a record of `draw`.
pub const UNIT: usize = 32;
/// The offsets of the halves of the head.
pub const HEADS: [usize; 2] = [512, 576];
/// The place of the mark after a failed sync.
const MARK: usize = 640;
/// The offset of the first slot.
pub const SLOTS: usize = 4096;
/// The offset of the first unit.
pub const UNITS: usize = 64;
/// Most units of a lottery.
const MOST_UNITS: u64 = 1_000_000;

/// The content of a place for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<T> {
    /// Only zeros, or no bytes.
    Blank,
    /// Neither zeros nor valid.
    Damaged,
    /// A valid record.
    Valid(T),
}

impl<T> Found<T> {
    /// The record, if it is valid.
    pub fn valid(self) -> Option<T> {
        if let Self::Valid(record) = self { Some(record) } else { None }
    }
}

/// The `len` bytes of a record at `at`; bytes that the file does not have are zeros.
pub fn bytes_at(file: &[u8], at: usize, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = file.iter().skip(at).take(len).copied().collect();
    bytes.resize(len, 0);
    bytes
}

/// The record in `bytes`, which `read` reads without its checksum. `read` returns `None` for wrong fields.
fn record<T>(bytes: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Found<T> {
    let (body, checksum) = bytes.split_at(bytes.len() - 4);
    if bytes.iter().all(|&byte| byte == 0) {
        return Found::Blank;
    }
    let is_intact = number(checksum) == u64::from(crc32(body));
    is_intact.then(|| read(body)).flatten().map_or(Found::Damaged, Found::Valid)
}

/// Writes the checksum of a record that is not blank. `magic` comes first, if the record has one.
pub fn seal(bytes: &mut [u8], magic: &[u8]) {
    if bytes.iter().any(|&byte| byte != 0) {
        bytes[..magic.len()].copy_from_slice(magic);
        let (body, checksum) = bytes.split_at_mut(bytes.len() - 4);
        checksum.copy_from_slice(&crc32(body).to_be_bytes());
    }
}

/// The first record of `books`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BooksHeader {
    /// The boot id as text; zeros for none.
    pub boot: Vec<u8>,
    /// The number of slots.
    pub slots: usize,
}

/// The first record of `books`.
pub fn books_header(books: &[u8]) -> Found<BooksHeader> {
    record(&bytes_at(books, 0, HALF), |body| {
        let (boot, slots) = (body[8..44].to_vec(), number(&body[48..52]) as usize);
        body.starts_with(b"LOTBOOK1").then_some(BooksHeader { boot, slots })
    })
}

/// One half of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of commits.
    pub seq: u64,
    /// The committed length.
    pub committed: u64,
    /// 1: a cut may not be synced; 2: the draw is held; 4: doubtful.
    pub flags: u64,
}

/// A greater number of a commit is damage.
const MOST_COMMITS: u64 = u64::MAX / 2;

/// The valid halves of the head.
pub fn heads(books: &[u8]) -> Vec<Head> {
    let mark = if bytes_at(books, MARK, HALF).iter().any(|&byte| byte != 0) { 4 } else { 0 };
    let read = |body: &[u8]| {
        let flags = number(&body[16..20]) & 7 | mark;
        let head = Head { seq: number(&body[..8]), committed: number(&body[8..16]), flags };
        (head.seq <= MOST_COMMITS).then_some(head)
    };
    HEADS.iter().filter_map(|&at| record(&bytes_at(books, at, HALF), read).valid()).collect()
}

/// One half of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Half {
    /// The number of the commit of the last group.
    pub seq: u64,
    /// Where that group ends.
    pub end: u64,
    /// The rows.
    pub tally: Tally,
    /// The agency.
    pub agency: AgencyId,
    /// 1: closed; 2: the end is durable; 4: has typed bets.
    pub flags: u64,
}

/// The valid halves of each slot.
pub fn slots(books: &[u8]) -> Vec<Vec<Half>> {
    let read = |body: &[u8]| {
        let seq = number(&body[..8]);
        (seq <= MOST_COMMITS).then_some(())?;
        Some(Half {
            seq,
            end: number(&body[8..16]),
            tally: Tally { count: number(&body[16..24]), crc: u32_of(&body[24..28]) },
            agency: AgencyId::new(u32_of(&body[28..32]))?,
            flags: number(&body[32..36]) & 7,
        })
    };
    let halves =
        |at| [at, at + HALF].into_iter().filter_map(move |at| record(&bytes_at(books, at, HALF), read).valid());
    (SLOTS..books.len()).step_by(2 * HALF).map(|at| halves(at).collect()).collect()
}

/// Whether the first record of `draw` is valid.
pub fn draw_begins(draw: &[u8]) -> bool {
    let header = record(&bytes_at(draw, 0, UNIT), |body| body.starts_with(b"LOTDRAW2").then_some(()));
    header.valid().is_some()
}

/// The record that follows the header of `draw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The result was going to be written at this offset.
    Planned(u64),
    /// The draw is held: CRC-32, offset and length of the result.
    Held(u32, u64, u64),
}

/// The record that follows the header of `draw`. A result begins at a page after the units.
pub fn place(draw: &[u8]) -> Found<Place> {
    record(&bytes_at(draw, UNIT, UNIT), |body| {
        let offset = number(&body[8..16]);
        let is_possible = offset > 0 && offset.is_multiple_of(4096) && offset <= page_after(MOST_UNITS);
        let place = match &body[..4] {
            b"NEXT" => Place::Planned(offset),
            b"HELD" => Place::Held(u32_of(&body[4..8]), offset, number(&body[16..24])),
            _ => return None,
        };
        is_possible.then_some(place)
    })
}

/// The first multiple of 4096 after so many units.
pub fn page_after(units: u64) -> u64 {
    (UNITS as u64 + UNIT as u64 * units).next_multiple_of(4096)
}

/// The end of an agency: its rows.
pub type Unit = (AgencyId, Tally);

/// The units of `draw` by the number of their slot, up to the offset `end`. At least `least` of them.
pub fn units(draw: &[u8], end: Option<u64>, least: usize) -> Vec<Found<Unit>> {
    let len = end.unwrap_or(u64::MAX).min(draw.len() as u64) as usize;
    let read = |body: &[u8]| {
        let tally = Tally { count: number(&body[8..16]), crc: u32_of(&body[16..20]) };
        body.starts_with(b"FIN2").then(|| AgencyId::new(u32_of(&body[4..8]))).flatten().map(|agency| (agency, tally))
    };
    let at = (UNITS..len).step_by(UNIT);
    let mut units: Vec<_> = at.map(|at| record(&bytes_at(&draw[..len], at, UNIT), read)).collect();
    units.resize(units.len().max(least), Found::Blank);
    units
}

/// The bytes of the unit of an agency.
pub fn unit((agency, tally): Unit) -> Vec<u8> {
    let mut bytes = [&b"FIN2"[..], &agency.get().to_be_bytes(), &tally.count.to_be_bytes()].concat();
    bytes.extend(tally.crc.to_be_bytes());
    bytes.resize(UNIT, 0);
    seal(&mut bytes, b"FIN2");
    bytes
}

/// The result of the draw: its terms, and the bytes of its entries and documents.
#[derive(Debug)]
pub struct Drawn {
    /// The terms of the draw.
    pub terms: Terms,
    slots: usize,
    rest: Vec<u8>,
}

/// The result with these three fields of the held record; `None` if it does not check.
pub fn drawn(draw: &[u8], crc: u32, offset: u64, len: u64) -> Option<Drawn> {
    let from = usize::try_from(offset).ok()?;
    let result = draw.get(from..from.checked_add(usize::try_from(len).ok()?)?)?;
    // A header is as long as a unit.
    if crc32(result) != crc || result.len() < UNIT {
        return None;
    }
    record(&bytes_at(draw, from, UNIT), |body| {
        let terms = Terms {
            agencies: u32_of(&body[4..8]),
            winning_number: u32_of(&body[8..12]),
            committed: number(&body[16..24]),
        };
        let slots = number(&body[12..16]) as usize;
        let rest = result[UNIT..].to_vec();
        body.starts_with(b"RES2").then_some(Drawn { terms, slots, rest })
    })
    .valid()
}

impl Drawn {
    /// The agencies with an entry, and the numbers of their slots.
    pub fn slots(&self) -> impl Iterator<Item = (AgencyId, usize)> {
        let entries = self.rest.chunks_exact(16).take(self.slots).enumerate();
        entries.filter_map(|(number, entry)| Some((AgencyId::new(u32_of(&entry[..4]))?, number)))
    }

    /// The documents of the agency of slot `slot`; `None` if they do not check.
    pub fn documents(&self, slot: usize, agency: AgencyId) -> Option<Vec<u32>> {
        if slot >= self.slots {
            return Some(Vec::new());
        }
        let entry = self.rest.get(16 * slot..16 * slot + 16)?;
        let [own, first, count, crc] = [0, 4, 8, 12].map(|at| u32_of(&entry[at..at + 4]));
        let from = 16 * self.slots + 4 * first as usize;
        // Without documents it does not matter where they would be.
        let documents = if count == 0 { &[] } else { self.rest.get(from..from + 4 * count as usize)? };
        let is_intact = own == agency.get() && crc32(documents) == crc;
        is_intact.then(|| documents.chunks(4).map(u32_of).collect())
    }
}

/// The number in four bytes.
pub fn u32_of(bytes: &[u8]) -> u32 {
    u32::try_from(number(bytes)).unwrap()
}

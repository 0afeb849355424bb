//! The bytes of the files `books` and `draw`: read, written, and damaged.
//!
//! Written from the description of the files, without the library's code: a second reading of the same page. All
//! integers are big-endian. A record ends with the CRC-32 of its other bytes.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// The boot id of [`of_another_boot`].
pub const ANOTHER_BOOT: &str = "00000000-0000-4000-8000-000000000000";

// ---- the offsets of `books` ----

/// The header of `books`.
pub const BOOKS_HEADER: Range<usize> = 0..64;
/// The boot id in that header.
pub const BOOT_ID: Range<usize> = 8..44;
/// The two halves of the head.
pub const HEADS: [Range<usize>; 2] = [512..576, 576..640];
/// The mark after a failed sync.
pub const MARK: Range<usize> = 640..704;
const SLOTS_AT: usize = 4096;
const HALF_LEN: usize = 64;

// ---- the offsets of `draw` ----

/// The header of `draw`.
pub const DRAW_HEADER: Range<usize> = 0..32;
/// The held record.
pub const HELD: Range<usize> = 32..64;
const UNITS_AT: usize = 64;
const UNIT_LEN: usize = 32;
const RESULT_HEADER_LEN: usize = 32;
const ENTRY_LEN: usize = 16;

// ---- flags ----

/// A cut of `bets.csv` has not been synced. A flag of the head.
pub const NOT_SYNCED: u32 = 1;
/// The draw is held. A flag of the head.
pub const DRAW_HELD: u32 = 2;
/// A sync has failed. A flag of the head.
pub const DOUBTFUL: u32 = 4;
/// The agency has ended. A flag of a slot.
pub const CLOSED: u32 = 1;
/// The end is durable. A flag of a slot.
pub const DURABLE: u32 = 2;
/// The agency has bets of typed batches. A flag of a slot.
pub const TYPED: u32 = 4;

/// Half of the head: the committed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub committed: u64,
    pub flags: u32,
}

/// Half of a slot: the tally of one agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub seq: u64,
    /// Where the agency's last group ends in `bets.csv`.
    pub end: u64,
    pub count: u64,
    pub crc: u32,
    pub agency: u32,
    pub flags: u32,
}

/// The durable record of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    pub agency: u32,
    pub count: u64,
    pub crc: u32,
}

/// The record that makes the result final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// CRC-32 of the result's bytes.
    pub crc: u32,
    pub offset: u64,
    pub len: u64,
}

/// The result of a draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub agencies: u32,
    pub number: u32,
    pub committed: u64,
    /// For each slot, its agency and the documents that won.
    pub winners: Vec<(u32, Vec<u32>)>,
}

// ---- records ----

/// Writes the CRC-32 of all bytes but the last four into these.
pub fn seal(record: &mut [u8]) {
    let body = record.len() - 4;
    let crc = crc32fast::hash(&record[..body]);
    record[body..].copy_from_slice(&crc.to_be_bytes());
}

/// Whether the last four bytes are the CRC-32 of the others.
pub fn is_sealed(record: &[u8]) -> bool {
    let (body, crc) = record.split_at(record.len() - 4);
    crc32fast::hash(body).to_be_bytes() == crc
}

/// A sealed record of `N` bytes that begins with `fields`.
fn record<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let fields = fields.concat();
    bytes[..fields.len()].copy_from_slice(&fields);
    seal(&mut bytes);
    bytes
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

impl Head {
    /// `None` for zeros and for a damaged half.
    pub fn decode(half: &[u8]) -> Option<Self> {
        let head = || Self { seq: u64_at(half, 0), committed: u64_at(half, 8), flags: u32_at(half, 16) };
        (!is_blank(half) && is_sealed(half)).then(head)
    }

    pub fn encode(&self) -> [u8; HALF_LEN] {
        record(&[&self.seq.to_be_bytes(), &self.committed.to_be_bytes(), &self.flags.to_be_bytes()])
    }
}

impl Slot {
    /// `None` for zeros and for a damaged half.
    pub fn decode(half: &[u8]) -> Option<Self> {
        let slot = || Self {
            seq: u64_at(half, 0),
            end: u64_at(half, 8),
            count: u64_at(half, 16),
            crc: u32_at(half, 24),
            agency: u32_at(half, 28),
            flags: u32_at(half, 32),
        };
        (!is_blank(half) && is_sealed(half)).then(slot)
    }

    pub fn encode(&self) -> [u8; HALF_LEN] {
        let long = [self.seq, self.end, self.count].map(u64::to_be_bytes).concat();
        record(&[&long, &[self.crc, self.agency, self.flags].map(u32::to_be_bytes).concat()])
    }

    pub fn is_closed(&self) -> bool {
        self.flags & CLOSED != 0
    }

    pub fn is_durable(&self) -> bool {
        self.flags & DURABLE != 0
    }
}

impl Unit {
    /// `None` for zeros and for a damaged unit.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let unit = || Self { agency: u32_at(bytes, 4), count: u64_at(bytes, 8), crc: u32_at(bytes, 16) };
        (bytes.starts_with(b"FIN2") && is_sealed(bytes)).then(unit)
    }

    pub fn encode(&self) -> [u8; UNIT_LEN] {
        let agency = self.agency.to_be_bytes();
        record(&[b"FIN2", &agency, &self.count.to_be_bytes(), &self.crc.to_be_bytes()])
    }
}

impl Held {
    /// `None` for zeros and for a damaged record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let held = || Self { crc: u32_at(bytes, 4), offset: u64_at(bytes, 8), len: u64_at(bytes, 16) };
        (bytes.starts_with(b"HELD") && is_sealed(bytes)).then(held)
    }

    pub fn encode(&self) -> [u8; 32] {
        record(&[b"HELD", &self.crc.to_be_bytes(), &self.offset.to_be_bytes(), &self.len.to_be_bytes()])
    }
}

/// The record in the place of the held one while a result is being written, which does not count yet.
pub fn planned(offset: u64) -> [u8; 32] {
    record(&[b"NEXT", &[0; 4], &offset.to_be_bytes()])
}

impl Outcome {
    /// `None` unless header and documents are valid and nothing follows.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..RESULT_HEADER_LEN)?;
        if !header.starts_with(b"RES2") || !is_sealed(header) {
            return None;
        }
        let slots = u32_at(header, 12) as usize;
        let documents = RESULT_HEADER_LEN + slots * ENTRY_LEN;
        let entries = bytes.get(RESULT_HEADER_LEN..documents)?.chunks_exact(ENTRY_LEN);
        let mut end = documents;
        let winners = entries.map(|entry| {
            let [agency, first, count, crc] = [0, 4, 8, 12].map(|offset| u32_at(entry, offset));
            let begin = documents + 4 * first as usize;
            end = begin + 4 * count as usize;
            let own = bytes.get(begin..end)?;
            let numbers = own.chunks_exact(4).map(|document| u32_at(document, 0)).collect();
            (crc32fast::hash(own) == crc).then_some((agency, numbers))
        });
        let winners = winners.collect::<Option<_>>()?;
        let [agencies, number] = [4, 8].map(|offset| u32_at(header, offset));
        (end == bytes.len()).then(|| Self { agencies, number, committed: u64_at(header, 16), winners })
    }

    pub fn encode(&self) -> Vec<u8> {
        let slots = u32::try_from(self.winners.len()).unwrap();
        let terms = [self.agencies, self.number, slots].map(u32::to_be_bytes).concat();
        let header: [u8; RESULT_HEADER_LEN] = record(&[b"RES2", &terms, &self.committed.to_be_bytes()]);
        let (mut entries, mut documents) = (Vec::new(), Vec::new());
        for (agency, own) in &self.winners {
            let bytes: Vec<u8> = own.iter().copied().flat_map(u32::to_be_bytes).collect();
            let [first, count] = [documents.len() / 4, own.len()].map(|number| u32::try_from(number).unwrap());
            entries.extend([*agency, first, count, crc32fast::hash(&bytes)].map(u32::to_be_bytes).concat());
            documents.extend(bytes);
        }
        [&header[..], &entries, &documents].concat()
    }
}

// ---- `books` ----

/// The content of a file `books`.
#[derive(Debug, Clone)]
pub struct Books(pub Vec<u8>);

impl Books {
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        Self(fs::read(path).unwrap())
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, &self.0).unwrap();
    }

    /// A file with this header, these heads in both halves, and one half for each slot.
    pub fn make(boot: &str, pid: u32, head: Head, slots: &[Slot]) -> Self {
        let mut bytes = vec![0; SLOTS_AT + 2 * HALF_LEN * slots.len()];
        let count = u32::try_from(slots.len()).unwrap();
        let mut id = [0; 36];
        id[..boot.len()].copy_from_slice(boot.as_bytes());
        let header: [u8; 64] = record(&[b"LOTBOOK1", &id, &pid.to_be_bytes(), &count.to_be_bytes()]);
        bytes[BOOKS_HEADER].copy_from_slice(&header);
        bytes[HEADS[0].clone()].copy_from_slice(&head.encode());
        for (n, slot) in slots.iter().enumerate() {
            let at = SLOTS_AT + 2 * HALF_LEN * n;
            bytes[at..at + HALF_LEN].copy_from_slice(&slot.encode());
        }
        Self(bytes)
    }

    /// Whether the header is valid.
    pub fn is_valid(&self) -> bool {
        self.0.starts_with(b"LOTBOOK1") && is_sealed(&self.0[BOOKS_HEADER])
    }

    /// The boot id, without the zeros of an unknown one.
    pub fn boot(&self) -> String {
        String::from_utf8(self.0[BOOT_ID].to_vec()).unwrap().trim_end_matches('\0').to_owned()
    }

    /// Writes a boot id; an empty one is unknown.
    pub fn set_boot(&mut self, boot: &str) {
        let id = &mut self.0[BOOT_ID];
        id.fill(0);
        id[..boot.len()].copy_from_slice(boot.as_bytes());
        seal(&mut self.0[BOOKS_HEADER]);
    }

    /// The pid of the server's parent process.
    pub fn pid(&self) -> u32 {
        u32_at(&self.0, 44)
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        u32_at(&self.0, 48) as usize
    }

    /// The newest half of the head, and where it is.
    #[track_caller]
    pub fn head(&self) -> (Head, Range<usize>) {
        let halves = HEADS.into_iter().filter_map(|half| Some((Head::decode(&self.0[half.clone()])?, half)));
        halves.max_by_key(|(head, _)| (head.seq, head.flags)).expect("no half of the head is valid")
    }

    /// Whether a half of the head says that the draw is held.
    pub fn was_drawn(&self) -> bool {
        HEADS.into_iter().filter_map(|half| Head::decode(&self.0[half])).any(|head| head.flags & DRAW_HELD != 0)
    }

    /// The two halves of slot `n`.
    pub fn slot_halves(n: usize) -> [Range<usize>; 2] {
        [0, HALF_LEN].map(|half| SLOTS_AT + 2 * HALF_LEN * n + half).map(|at| at..at + HALF_LEN)
    }

    /// The newest half of slot `n`, and where it is; `None` if no half is valid.
    pub fn slot_at(&self, n: usize) -> Option<(Slot, Range<usize>)> {
        let decoded = |half: Range<usize>| Some((Slot::decode(self.0.get(half.clone())?)?, half));
        let halves = Self::slot_halves(n).into_iter().filter_map(decoded);
        halves.max_by_key(|(slot, _)| (slot.seq, slot.flags))
    }

    /// The number of the agency's slot.
    #[track_caller]
    pub fn number_of(&self, agency: u32) -> usize {
        let is_own = |&n: &usize| self.slot_at(n).is_some_and(|(slot, _)| slot.agency == agency);
        (0..self.slots()).find(is_own).expect("the agency has no slot")
    }

    /// The newest half of the agency's slot, and where it is.
    #[track_caller]
    pub fn slot(&self, agency: u32) -> (Slot, Range<usize>) {
        self.slot_at(self.number_of(agency)).unwrap()
    }

    /// Replaces the newest half of the head.
    #[track_caller]
    pub fn put_head(&mut self, change: impl FnOnce(&mut Head)) {
        let (mut head, half) = self.head();
        change(&mut head);
        self.0[half].copy_from_slice(&head.encode());
    }

    /// Replaces the newest half of the agency's slot.
    #[track_caller]
    pub fn put_slot(&mut self, agency: u32, change: impl FnOnce(&mut Slot)) {
        let (mut slot, half) = self.slot(agency);
        change(&mut slot);
        self.0[half].copy_from_slice(&slot.encode());
    }
}

// ---- `draw` ----

/// The content of a file `draw`.
#[derive(Debug, Clone)]
pub struct Draw(pub Vec<u8>);

impl Draw {
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        Self(fs::read(path).unwrap())
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, &self.0).unwrap();
    }

    /// A file with these units and, if there is an outcome, its result and held record.
    pub fn make(units: &[Option<Unit>], outcome: Option<&Outcome>) -> Self {
        let mut bytes = vec![0; UNITS_AT + UNIT_LEN * units.len()];
        let header: [u8; 32] = record(&[b"LOTDRAW2", &0_u64.to_be_bytes()]);
        bytes[DRAW_HEADER].copy_from_slice(&header);
        for (n, unit) in units.iter().enumerate() {
            bytes[Self::unit_range(n)].copy_from_slice(&unit.map_or([0; UNIT_LEN], |unit| unit.encode()));
        }
        if let Some(result) = outcome.map(Outcome::encode) {
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            let (offset, len) = (bytes.len() as u64, result.len() as u64);
            bytes[HELD].copy_from_slice(&Held { crc: crc32fast::hash(&result), offset, len }.encode());
            bytes.extend(result);
        }
        Self(bytes)
    }

    /// Whether the header is valid.
    pub fn is_valid(&self) -> bool {
        self.0.starts_with(b"LOTDRAW2") && is_sealed(&self.0[DRAW_HEADER])
    }

    /// The held record, if it is valid.
    pub fn held(&self) -> Option<Held> {
        Held::decode(self.0.get(HELD)?)
    }

    /// Where the unit of slot `n` is.
    pub fn unit_range(n: usize) -> Range<usize> {
        UNITS_AT + UNIT_LEN * n..UNITS_AT + UNIT_LEN * (n + 1)
    }

    /// The unit of slot `n`, if it is valid.
    pub fn unit(&self, n: usize) -> Option<Unit> {
        Unit::decode(self.0.get(Self::unit_range(n))?)
    }

    /// Where the result is that the held record names.
    #[track_caller]
    pub fn result_range(&self) -> Range<usize> {
        let held = self.held().expect("no valid held record");
        let [offset, len] = [held.offset, held.len].map(|number| usize::try_from(number).unwrap());
        offset..offset + len
    }

    /// The result that the held record names, if both are valid.
    pub fn outcome(&self) -> Option<Outcome> {
        let held = self.held()?;
        let bytes = self.0.get(self.result_range())?;
        (crc32fast::hash(bytes) == held.crc).then(|| Outcome::decode(bytes))?
    }

    /// The winners of each agency in the result.
    pub fn winners(&self) -> Option<BTreeMap<u32, Vec<u32>>> {
        Some(self.outcome()?.winners.into_iter().collect())
    }
}

// ---- damage ----

/// Changes the bytes of a file.
#[track_caller]
pub fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Changes a file `books`.
#[track_caller]
pub fn edit_books(path: &Path, change: impl FnOnce(&mut Books)) {
    let mut books = Books::read(path);
    change(&mut books);
    books.write(path);
}

/// Flips a bit; bit 0 is the lowest one of the first byte.
#[track_caller]
pub fn flip(path: &Path, bit: usize) {
    edit(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
}

/// Flips the lowest bit of the first byte of each range.
#[track_caller]
pub fn damage(path: &Path, records: &[Range<usize>]) {
    records.iter().for_each(|record| flip(path, record.start * 8));
}

/// Fills a part of a file with zeros.
#[track_caller]
pub fn zero(path: &Path, record: Range<usize>) {
    edit(path, |bytes| bytes[record].fill(0));
}

/// Makes the file `books` one that a server wrote in another boot.
#[track_caller]
pub fn of_another_boot(path: &Path) {
    edit_books(path, |books| books.set_boot(ANOTHER_BOOT));
}

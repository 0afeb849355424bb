//! The layout of `books`: the memory that the processes of one boot share.
//!
//! The *head* records the committed length. The *slot* of an agency records its tally. Each of them has two halves: a
//! writer overwrites the older one, so that a reader always finds a valid half, even beside a writer that is killed.
//!
//! | offset | record |
//! |---|---|
//! | 0 | [`Header`] |
//! | 512 and 576 | the halves of the [`Head`] |
//! | 640, 64 bytes | the mark: a byte that is not zero makes the head doubtful |
//! | 4096 + 128 n, and 64 later | the halves of slot n, each an [`Entry`] |
//!
//! No record crosses a page. The file is synced when a start makes it, and by the draw; sessions never sync it. So it is
//! believed only in the boot that it names.

use std::fs::File;
use std::io;
use std::ops;
use std::os::unix::fs::FileExt;

use super::boot::Boot;
use super::reader::Range;
use super::record::{self, Found, Reader, Record, Writer};
use crate::bet::AgencyId;
use crate::row::Tally;

const MAGIC: &[u8; 8] = b"LOTBOOK1";
const HALF_LEN: usize = 64;
const HEAD_AT: u64 = 512;
const MARK_AT: u64 = HEAD_AT + PAIR_LEN as u64;
const SLOTS_AT: u64 = 4096;
const PAIR_LEN: usize = 2 * HALF_LEN;
/// The boot in books that were made while the kernel did not identify the boot.
const UNKNOWN_BOOT: Boot = [0; 36];
/// Slots that are read in one call.
const SLOTS_A_READ: u64 = 1024;
/// No lottery has so many commits. A record with a greater number is damaged, so that the next number always exists.
const MOST_COMMITS: u64 = u64::MAX / 2;

/// The first record: who made the books, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The boot in which the books are valid; `None` for no boot.
    pub boot: Option<Boot>,
    /// The pid of the server's parent process.
    pub parent: u32,
    /// The number of slots when the books were made.
    pub slots: u32,
}

impl Record<HALF_LEN> for Header {
    fn encode(&self, into: &mut Writer<'_>) {
        into.bytes(MAGIC).bytes(&self.boot.unwrap_or(UNKNOWN_BOOT)).u32(self.parent).u32(self.slots);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.magic(MAGIC)?;
        let boot = from.array()?;
        Some(Self { boot: (boot != UNKNOWN_BOOT).then_some(boot), parent: from.u32()?, slots: from.u32()? })
    }
}

impl Header {
    /// The header of `books`.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn read(books: &File) -> io::Result<Found<Self>> {
        record::read(books, 0)
    }

    /// Bytes of books that have all slots of this header.
    pub fn min_len(&self) -> u64 {
        PairOffset::slot(self.slots).at()
    }
}

/// One half of the head, or of a slot.
pub trait Half: Record<HALF_LEN> + Copy + PartialEq {
    /// Later halves are greater: the number of the commit, then the flags, which only grow within one commit.
    fn order(&self) -> (u64, u32);
}

/// The committed length, and the state of the lottery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of commits.
    pub seq: u64,
    /// Bytes of `bets.csv` that are bets.
    pub committed: u64,
    /// A tail has been cut off, and the cut may not be synced.
    pub is_cut: bool,
    /// The draw has been held.
    pub is_drawn: bool,
    /// A sync has failed: some of the bytes may not be on the disk, and nobody may rely on them. Set by the [mark](mark), or by
    /// an older version of the server.
    pub is_doubtful: bool,
}

impl Head {
    const CUT: u32 = 1;
    const DRAWN: u32 = 2;
    const DOUBTFUL: u32 = 4;

    /// The head of books whose `committed` bytes were counted.
    pub fn new(committed: u64) -> Self {
        Self { seq: 1, committed, is_cut: false, is_drawn: false, is_doubtful: false }
    }

    /// The head after the next commit.
    pub fn next(self, committed: u64) -> Self {
        Self { seq: self.seq + 1, committed, is_cut: false, ..self }
    }

    fn flags(&self) -> u32 {
        flag(self.is_cut, Self::CUT) | flag(self.is_drawn, Self::DRAWN) | flag(self.is_doubtful, Self::DOUBTFUL)
    }
}

impl Record<HALF_LEN> for Head {
    fn encode(&self, into: &mut Writer<'_>) {
        into.u64(self.seq).u64(self.committed).u32(self.flags());
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (seq, committed, flags) = (from.u64()?, from.u64()?, from.u32()?);
        let has = |flag| flags & flag != 0;
        (seq <= MOST_COMMITS).then_some(Self {
            seq,
            committed,
            is_cut: has(Self::CUT),
            is_drawn: has(Self::DRAWN),
            is_doubtful: has(Self::DOUBTFUL),
        })
    }
}

impl Half for Head {
    fn order(&self) -> (u64, u32) {
        (self.seq, self.flags())
    }
}

/// The content of a slot: the tally of one agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number of the commit of the agency's last group.
    pub seq: u64,
    /// Where that group ends in `bets.csv`, in bytes.
    pub end: u64,
    /// The agency's committed rows.
    pub tally: Tally,
    /// The agency.
    pub agency: AgencyId,
    /// The agency has ended.
    pub is_closed: bool,
    /// The end is durable.
    pub is_durable: bool,
    /// Some rows came in typed batches. Never cleared.
    pub has_typed: bool,
}

impl Entry {
    const CLOSED: u32 = 1;
    const DURABLE: u32 = 2;
    const TYPED: u32 = 4;

    /// The entry of an agency without rows.
    pub fn empty(agency: AgencyId) -> Self {
        Self { seq: 0, end: 0, tally: Tally::default(), agency, is_closed: false, is_durable: false, has_typed: false }
    }

    fn flags(&self) -> u32 {
        flag(self.is_closed, Self::CLOSED) | flag(self.is_durable, Self::DURABLE) | flag(self.has_typed, Self::TYPED)
    }
}

impl Record<HALF_LEN> for Entry {
    fn encode(&self, into: &mut Writer<'_>) {
        let Tally { count, crc } = self.tally;
        into.u64(self.seq).u64(self.end).u64(count).u32(crc).u32(self.agency.get()).u32(self.flags());
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (seq, end, count, crc) = (from.u64()?, from.u64()?, from.u64()?, from.u32()?);
        let (agency, flags) = (AgencyId::new(from.u32()?)?, from.u32()?);
        let [is_closed, is_durable, has_typed] =
            [Self::CLOSED, Self::DURABLE, Self::TYPED].map(|flag| flags & flag != 0);
        let tally = Tally { count, crc };
        (seq <= MOST_COMMITS).then_some(Self { seq, end, tally, agency, is_closed, is_durable, has_typed })
    }
}

impl Half for Entry {
    fn order(&self) -> (u64, u32) {
        (self.seq, self.flags())
    }
}

fn flag(is_set: bool, flag: u32) -> u32 {
    if is_set { flag } else { 0 }
}

/// Where two halves are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairOffset(u64);

impl PairOffset {
    /// The head.
    pub const HEAD: Self = Self(HEAD_AT);

    /// Slot `number`.
    pub fn slot(number: u32) -> Self {
        Self(SLOTS_AT + u64::from(number) * PAIR_LEN as u64)
    }

    /// The offset of the first half.
    pub fn at(self) -> u64 {
        self.0
    }

    /// The place of both halves.
    pub fn place(self) -> ops::Range<u32> {
        let at = u32::try_from(self.0).expect("books have at most 128 MB");
        at..at + PAIR_LEN as u32
    }
}

/// The two halves at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<H> {
    place: PairOffset,
    halves: [Found<H>; 2],
}

impl<H: Half> Pair<H> {
    /// Reads both halves. Takes no lock: the half that a writer is not overwriting is valid.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn read(books: &File, place: PairOffset) -> io::Result<Self> {
        Range::new(books, place.0, place.0 + PAIR_LEN as u64)
            .array_or_zeros()
            .map(|bytes: [u8; PAIR_LEN]| Self::in_bytes(place, &bytes))
    }

    /// The halves at a place past the end of the file.
    pub fn blank(place: PairOffset) -> Self {
        Self { place, halves: [Found::Blank; 2] }
    }

    fn in_bytes(place: PairOffset, bytes: &[u8]) -> Self {
        let half = |at: usize| bytes[at..].first_chunk().map_or(Found::Blank, record::opened);
        Self { place, halves: [half(0), half(HALF_LEN)] }
    }

    /// The valid halves.
    pub fn valid(&self) -> impl Iterator<Item = H> {
        self.halves.into_iter().filter_map(Found::valid)
    }

    /// The newest valid half.
    pub fn newest(&self) -> Option<H> {
        self.valid().max_by_key(Half::order)
    }

    /// Whether both halves are damaged, which no single writer leaves.
    pub fn is_damaged(&self) -> bool {
        self.halves.iter().all(|half| *half == Found::Damaged)
    }

    /// Whether nothing was ever written here.
    pub fn is_blank(&self) -> bool {
        self.halves.iter().all(|half| *half == Found::Blank)
    }

    /// Overwrites the older half with `half`, which becomes the newest one.
    ///
    /// # Errors
    /// The error of pwrite(2); a torn half is not valid.
    pub fn replace(&self, books: &File, half: &H) -> io::Result<()> {
        let second = match self.newest() {
            None => false,
            Some(newest) => self.halves[1].valid() != Some(newest),
        };
        let offset = self.place.0 + if second { HALF_LEN as u64 } else { 0 };
        books.write_all_at(&record::sealed(half), offset)
    }
}

impl Pair<Head> {
    /// Reads the head and its mark, which makes both halves doubtful. Takes no lock.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn read_head(books: &File) -> io::Result<Self> {
        let bytes: [u8; PAIR_LEN + HALF_LEN] =
            Range::new(books, HEAD_AT, MARK_AT + HALF_LEN as u64).array_or_zeros()?;
        let (halves, mark) = bytes.split_at(PAIR_LEN);
        let mut pair = Self::in_bytes(PairOffset::HEAD, halves);
        let is_marked = mark.iter().any(|&byte| byte != 0);
        for half in &mut pair.halves {
            if let Found::Valid(head) = half {
                head.is_doubtful |= is_marked;
            }
        }
        Ok(pair)
    }
}

/// The place of the mark.
pub fn place_of_mark() -> ops::Range<u32> {
    let at = u32::try_from(MARK_AT).expect("it is in the first page");
    at..at + HALF_LEN as u32
}

/// Marks the head as doubtful. Needs no lock: all processes write the same bytes, and nobody removes the mark. A mark that is
/// cut short counts.
///
/// # Errors
/// The error of pwrite(2).
pub fn mark(books: &File) -> io::Result<()> {
    books.write_all_at(&[0xff; HALF_LEN], MARK_AT)
}

/// Writes the bytes of the header again, which changes nothing: whether the file can be written at all.
///
/// # Errors
/// The error of pread(2) or pwrite(2).
pub fn rewrite_header(books: &File) -> io::Result<()> {
    let header: [u8; HALF_LEN] = Range::new(books, 0, HALF_LEN as u64).array_or_zeros()?;
    books.write_all_at(&header, 0)
}

impl Pair<Entry> {
    /// The newest entry; an empty one if `agency` has never had a row.
    pub fn entry(&self, agency: AgencyId) -> Entry {
        self.newest().unwrap_or(Entry::empty(agency))
    }
}

/// Calls `each` with the number and the halves of every slot in `books`.
///
/// # Errors
/// The error of fstat(2) or pread(2).
pub fn slots(books: &File, mut each: impl FnMut(u32, Pair<Entry>)) -> io::Result<()> {
    let len = books.metadata()?.len().saturating_sub(SLOTS_AT);
    let count = u32::try_from(len.div_ceil(PAIR_LEN as u64)).unwrap_or(u32::MAX);
    let mut number = 0;
    while number < count {
        let PairOffset(from) = PairOffset::slot(number);
        let mut bytes = Range::new(books, from, from + SLOTS_A_READ * PAIR_LEN as u64).up_to_end()?;
        // A file that shrank since fstat(2) ends the loop.
        if bytes.is_empty() {
            break;
        }
        // The last slot may have only its first half.
        bytes.resize(bytes.len().next_multiple_of(PAIR_LEN), 0);
        for pair in bytes.as_chunks::<PAIR_LEN>().0 {
            each(number, Pair::in_bytes(PairOffset::slot(number), pair));
            number += 1;
        }
    }
    Ok(())
}

/// The head that counts: `head`, the newest half, or the one that its writer could not write any more, because it died
/// after it had committed its group. `None` if the slots contradict the head. `len` is the length of `bets.csv`.
///
/// A slot proves the commit: its number is one more than the head's, and it ends past the committed length. So a false
/// head makes nobody cut off stored rows.
///
/// # Errors
/// The error of fstat(2) or pread(2).
pub fn rolled_forward(books: &File, head: Head, len: u64) -> io::Result<Option<Head>> {
    let mut next: Option<(u32, u64)> = None;
    let mut is_consistent = true;
    slots(books, |number, pair| {
        for entry in pair.valid().filter(|entry| entry.seq > head.seq || entry.end > head.committed) {
            let is_next = entry.seq == head.seq + 1 && entry.end > head.committed && entry.end <= len;
            let own = (number, entry.end);
            is_consistent &= is_next && *next.get_or_insert(own) == own;
        }
    })?;
    let counts = next.map_or(head, |(_, committed)| head.next(committed));
    Ok(is_consistent.then_some(counts))
}

/// The bytes of new books, with a slot for each of `entries`, by number.
pub fn new_books(header: &Header, head: &Head, entries: impl Iterator<Item = (u32, Entry)>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(header.min_len()).expect("books have at most 128 MB")];
    let mut put = |at: u64, record: [u8; HALF_LEN]| bytes[at as usize..][..HALF_LEN].copy_from_slice(&record);
    put(0, record::sealed(header));
    put(HEAD_AT, record::sealed(head));
    entries.for_each(|(number, entry)| put(PairOffset::slot(number).at(), record::sealed(&entry)));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agency(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    #[test]
    fn every_bit_of_a_record_counts() {
        let boot = Some(*b"01234567-89ab-cdef-0123-456789abcdef");
        record::assert_every_bit_counts(Header { boot, parent: 7, slots: 5 });
        record::assert_every_bit_counts(Header { boot: None, parent: 0, slots: 0 });
        for (is_cut, is_drawn, is_doubtful) in [(false, true, false), (true, false, true)] {
            record::assert_every_bit_counts(Head { seq: 9, committed: 1 << 40, is_cut, is_drawn, is_doubtful });
        }
        for (is_closed, is_durable, has_typed) in [(false, false, true), (true, false, false), (true, true, true)] {
            let tally = Tally { count: 1 << 33, crc: 0x1234_5678 };
            let entry = Entry { is_closed, is_durable, has_typed, ..Entry::empty(agency(7)) };
            record::assert_every_bit_counts(Entry { seq: 3, end: 99, tally, ..entry });
        }
    }

    #[test]
    fn the_older_half_is_overwritten() {
        let books = tempfile::tempfile().unwrap();
        let place = PairOffset::slot(3);
        assert_eq!(Pair::<Entry>::read(&books, place).unwrap().newest(), None);
        let mut entry = Entry::empty(agency(4));
        for seq in 0..5 {
            for is_closed in [false, true] {
                entry = Entry { seq, is_closed, ..entry };
                let before = Pair::read(&books, place).unwrap();
                before.replace(&books, &entry).unwrap();
                let after = Pair::read(&books, place).unwrap();
                assert_eq!(after.newest(), Some(entry));
                assert!(before.newest().is_none_or(|newest| after.valid().any(|half| half == newest)));
            }
        }
    }

    #[test]
    fn a_torn_half_leaves_the_other_one() {
        let books = tempfile::tempfile().unwrap();
        let [old, new] = [1, 2].map(|seq| Head { seq, ..Head::new(10 * seq) });
        Pair::read_head(&books).unwrap().replace(&books, &old).unwrap();
        for torn in 1..HALF_LEN {
            books.write_all_at(&record::sealed(&new)[..torn], HEAD_AT + HALF_LEN as u64).unwrap();
            let pair = Pair::read_head(&books).unwrap();
            assert_eq!(pair.newest(), Some(old), "{torn} bytes");
            assert!(!pair.is_damaged());
        }
        books.write_all_at(b"x", HEAD_AT + 3).unwrap();
        assert!(Pair::read_head(&books).unwrap().is_damaged());
    }

    #[test]
    fn any_byte_of_the_mark_makes_the_head_doubtful() {
        let books = tempfile::tempfile().unwrap();
        let head = Head::new(10);
        Pair::read_head(&books).unwrap().replace(&books, &head).unwrap();
        assert_eq!(Pair::read_head(&books).unwrap().newest(), Some(head));
        let doubtful = Head { is_doubtful: true, ..head };
        for at in 0..HALF_LEN as u64 {
            books.write_all_at(&[0; HALF_LEN], MARK_AT).unwrap();
            books.write_all_at(&[1], MARK_AT + at).unwrap();
            assert_eq!(Pair::read_head(&books).unwrap().newest(), Some(doubtful));
        }
        mark(&books).unwrap();
        let pair = Pair::read_head(&books).unwrap();
        pair.replace(&books, &head.next(20)).unwrap();
        assert_eq!(Pair::read_head(&books).unwrap().newest(), Some(doubtful.next(20)), "the mark stays");
    }

    #[test]
    fn all_slots_are_read_also_those_of_large_books() {
        let books = tempfile::tempfile().unwrap();
        let numbers = [0, 1, SLOTS_A_READ as u32 - 1, SLOTS_A_READ as u32, 3000];
        for number in numbers {
            let entry = Entry::empty(agency(number + 1));
            Pair::read(&books, PairOffset::slot(number)).unwrap().replace(&books, &entry).unwrap();
        }
        let mut found = Vec::new();
        slots(&books, |number, pair| found.extend(pair.newest().map(|entry| (number, entry.agency.get())))).unwrap();
        assert_eq!(found, numbers.map(|number| (number, number + 1)));
    }

    #[test]
    fn only_a_slot_of_the_next_commit_moves_the_head() {
        let head = Head { seq: 5, ..Head::new(100) };
        let entry = |id, seq, end| (id - 1, Entry { seq, end, ..Entry::empty(agency(id)) });
        let rolled = |entries: &[(u32, Entry)], len| {
            let books = tempfile::tempfile().unwrap();
            let header = Header { boot: None, parent: 1, slots: 3 };
            books.write_all_at(&new_books(&header, &head, entries.iter().copied()), 0).unwrap();
            rolled_forward(&books, head, len).unwrap()
        };
        assert_eq!(rolled(&[entry(1, 5, 100), entry(2, 4, 80)], 150), Some(head));
        assert_eq!(rolled(&[entry(1, 6, 130), entry(2, 4, 80)], 150), Some(head.next(130)));
        assert_eq!(rolled(&[entry(1, 6, 160)], 150), None, "rows are missing");
        assert_eq!(rolled(&[entry(1, 7, 130)], 150), None, "two commits further");
        assert_eq!(rolled(&[entry(1, 6, 90)], 150), None, "a commit without rows");
        assert_eq!(rolled(&[entry(1, 4, 130)], 150), None, "an older commit past the committed length");
        assert_eq!(rolled(&[entry(1, 6, 130), entry(2, 6, 130)], 150), None, "two writers");
    }
}

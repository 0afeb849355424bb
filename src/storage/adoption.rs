//! What a start decides about the files that it finds. Nothing is changed before the decision is complete.
//!
//! | found | the committed length | refused if |
//! |---|---|---|
//! | neither `books` nor `draw` | the longest run of valid rows | there are bytes, but the first row is not valid |
//! | `books` of this boot | the head's, or that of the next commit | any row, slot or end contradicts another |
//! | the same, but doubtful: a sync has failed | the longest run of valid rows within that length | as in the next row |
//! | `books` of another boot, or none | the longest run of valid rows | an end is damaged, is gone, or has other rows |
//!
//! Within one boot everything that a process has written is there, so the books prove every agency's rows. After a reboot,
//! only ends prove theirs, because sessions never sync the books. But a flag that was set after a sync is still evidence.

use std::collections::HashSet;
use std::fs::File;

use super::books::{self, Entry, Head, Header, Pair};
use super::boot::Boot;
use super::commit::LARGEST_GROUP;
use super::draw_file::{self, ResultRecord, Unit};
use super::error::{Defect, Error, Result};
use super::files::{StopCheck, valid_rows};
use super::paths::Paths;
use super::progress::Progress;
use super::record::Found;
use super::results::{self, Terms};
use super::slots::{self, Slot, Slots};
use super::tallies::Tallies;
use crate::bet::AgencyId;
use crate::row::Tally;

/// The files that a start has found.
#[derive(Debug, Clone, Copy)]
pub struct OnDisk<'a> {
    /// Their names.
    pub paths: &'a Paths,
    /// `bets.csv`.
    pub bets: &'a File,
    /// Its length in bytes.
    pub len: u64,
    /// `books`, if it exists.
    pub books: Option<&'a File>,
    /// `draw`, if it exists.
    pub draw: Option<&'a File>,
    /// The current boot, if it is known.
    pub boot: Option<Boot>,
}

/// The state that a start goes on with.
#[derive(Debug, Default)]
pub struct Decision {
    /// The committed rows.
    pub tallies: Tallies,
    /// The slots of the agencies that have ended, or that the books know.
    pub slots: Slots,
    /// The ends that are in `draw`.
    pub ended: Vec<Slot>,
    /// The ends that are in the books, and not in `draw` yet.
    pub missing: Vec<(Slot, Unit)>,
    /// The terms of the draw, if it is held.
    pub drawn: Option<Terms>,
    /// The agencies whose rows all came in untyped messages, as the books prove it.
    pub untyped: HashSet<AgencyId>,
    /// Offset in `draw` of an unfinished result, which the start removes.
    pub unfinished: Option<u64>,
}

/// Decides about the files.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::NotAStore`] as in the table of this module; [`Error::Stopped`] if `stop` returns true;
/// [`Error::Io`] if a system call fails.
pub fn decide(on_disk: &OnDisk<'_>, stop: StopCheck<'_>) -> Result<Decision> {
    let OnDisk { paths, len, books, draw, boot, .. } = *on_disk;
    let header = books.map(|books| first_record(&paths.books, Header::read(books))).transpose()?;
    draw.map(|draw| first_record(&paths.draw, draw_file::Header::read(draw))).transpose()?;
    match (header, books, draw) {
        (Some(header), Some(books), Some(draw)) => {
            let books = Books::read(paths, books, header)?;
            let decision = match boot.is_some() && header.boot == boot {
                true if !books.head()?.is_doubtful => in_this_boot(on_disk, &books, draw, stop),
                true => in_another_boot(on_disk, Some(&books), draw, books.committed(len)?.min(len), stop),
                false => in_another_boot(on_disk, Some(&books), draw, len, stop),
            }?;
            let untyped = books.untyped(&decision.tallies);
            Ok(Decision { untyped, ..decision })
        }
        (_, Some(_), None) => Err(Error::damaged(&paths.draw, Defect::Missing)),
        (_, _, Some(draw)) => in_another_boot(on_disk, None, draw, len, stop),
        (_, None, None) => without_books(on_disk, stop),
    }
}

fn first_record<T>(path: &std::path::Path, found: std::io::Result<Found<T>>) -> Result<T> {
    match found.map_err(Error::io("read", path))? {
        Found::Valid(header) => Ok(header),
        Found::Blank | Found::Damaged => Err(Error::damaged(path, Defect::Header)),
    }
}

/// Rows that another program may have written, or nothing at all.
fn without_books(on_disk: &OnDisk<'_>, stop: StopCheck<'_>) -> Result<Decision> {
    let tallies = on_disk.scan(on_disk.len, stop)?;
    if tallies.len() == 0 && on_disk.len > 0 {
        return Err(Error::NotAStore { path: on_disk.paths.bets.clone() });
    }
    Ok(Decision { tallies, ..Decision::default() })
}

// ---- books of this boot ----

fn in_this_boot(on_disk: &OnDisk<'_>, books: &Books<'_>, draw: &File, stop: StopCheck<'_>) -> Result<Decision> {
    let OnDisk { paths, len, .. } = *on_disk;
    let counts = books::rolled_forward(books.file, books.head()?, len).map_err(Error::io("read", &paths.books))?;
    // If a slot ends past the end of the file, the comparison below names the agency whose rows are missing.
    let committed = counts.unwrap_or(books.head()?).committed;
    let tallies = on_disk.scan(committed.min(len), stop)?;
    let mut decision = Decision { tallies, slots: books.slots()?, ..Decision::default() };
    books.compare(&decision.tallies, committed)?;
    match counts {
        None => return Err(Error::damaged(&paths.books, Defect::Contradiction)),
        Some(_) if len < committed => return Err(Error::damaged(&paths.bets, Defect::Short { len, committed })),
        Some(_) if decision.tallies.len() < committed => {
            return Err(Error::damaged(&paths.books, Defect::Contradiction));
        }
        Some(_) if len - committed > LARGEST_GROUP => {
            return Err(Error::damaged(&paths.bets, Defect::Long { len, committed }));
        }
        Some(_) => {}
    }
    decision.compare_units(paths, books, draw)?;
    Ok(decision)
}

// ---- books of another boot, or none ----

fn in_another_boot(
    on_disk: &OnDisk<'_>,
    books: Option<&Books<'_>>,
    draw: &File,
    to: u64,
    stop: StopCheck<'_>,
) -> Result<Decision> {
    let OnDisk { paths, len, .. } = *on_disk;
    let mut decision = Decision { tallies: on_disk.scan(to, stop)?, ..Decision::default() };
    let damaged = |defect| Error::damaged(&paths.draw, defect);
    let (units, _) = decision.read_result(paths, draw, books, Certainty::AnotherBoot)?;
    for (number, unit) in (0..).zip(&units) {
        match unit {
            Found::Valid(Unit { agency, tally }) => {
                let slot = Slot { agency: *agency, number };
                if !decision.slots.keep(slot) {
                    return Err(damaged(Defect::Unit(number)));
                }
                let compared = decision.tallies.compare(*agency, *tally, to);
                compared.map_err(|defect| Error::damaged(&paths.bets, defect))?;
                decision.ended.push(slot);
            }
            Found::Damaged => return Err(damaged(Defect::Unit(number))),
            Found::Blank => {}
        }
    }
    if decision.tallies.len() == 0 && len > LARGEST_GROUP {
        return Err(Error::damaged(&paths.bets, Defect::NoRow));
    }
    let ended: HashSet<_> = decision.ended.iter().map(|slot| slot.agency).collect();
    let gone = books.into_iter().flat_map(Books::durable_ends).find(|agency| !ended.contains(agency));
    gone.map_or(Ok(decision), |agency| Err(damaged(Defect::EndGone(agency))))
}

// ---- both ----

/// Whether the books are of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certainty {
    ThisBoot,
    AnotherBoot,
}

impl OnDisk<'_> {
    fn scan(&self, to: u64, stop: StopCheck<'_>) -> Result<Tallies> {
        let mut progress = Progress::of(to);
        valid_rows((self.bets, &self.paths.bets), to, stop, &mut |rows| progress.add(rows.len()))
    }
}

impl Decision {
    /// Checks that every end in `draw` is that of a closed slot. Notes the closed slots that have no end there yet.
    fn compare_units(&mut self, paths: &Paths, books: &Books<'_>, draw: &File) -> Result<()> {
        let (mut units, end) = self.read_result(paths, draw, Some(books), Certainty::ThisBoot)?;
        // The last closed slots may have no unit yet.
        units.resize(units.len().max(books.slots.len()), Found::Blank);
        let damaged = |defect| Err(Error::damaged(&paths.draw, defect));
        for (number, unit) in (0..).zip(units) {
            let closed = books.entry(number).filter(|entry| entry.is_closed);
            match (unit, closed) {
                (Found::Valid(unit), Some(entry)) if (unit.agency, unit.tally) == (entry.agency, entry.tally) => {
                    self.ended.push(Slot { agency: unit.agency, number });
                }
                (Found::Valid(Unit { agency, tally }), Some(entry)) if agency == entry.agency => {
                    return damaged(self.tallies.differ(agency, tally, self.tallies.len()));
                }
                (Found::Valid(unit), _) => return damaged(Defect::EndUnknown(unit.agency)),
                (_, Some(_)) if end.is_some_and(|end| !draw_file::is_before(number, end)) => {
                    return damaged(Defect::Unit(number));
                }
                (Found::Blank | Found::Damaged, Some(Entry { agency, tally, .. })) => {
                    self.missing.push((Slot { agency, number }, Unit { agency, tally }));
                }
                (Found::Damaged, None) => return damaged(Defect::Unit(number)),
                (Found::Blank, None) => {}
            }
        }
        Ok(())
    }

    /// Reads the result, and returns the units, and where they end if there is a result: it begins there.
    fn read_result(
        &mut self,
        paths: &Paths,
        draw: &File,
        books: Option<&Books<'_>>,
        certainty: Certainty,
    ) -> Result<(Vec<Found<Unit>>, Option<u64>)> {
        let read = || Error::io("read", &paths.draw);
        let damaged = |defect| Err(Error::damaged(&paths.draw, defect));
        let place = ResultRecord::read(draw).map_err(read())?;
        let was_held = books.is_some_and(Books::was_drawn);
        let end = match place {
            Found::Valid(ResultRecord::Held(extent)) => {
                self.drawn = results::verify(draw, extent).map_err(read())?;
                // The winners are read by slot, so every agency in the result keeps its number.
                let slots = results::slots(draw, extent).map_err(read())?;
                if self.drawn.is_none() || !slots.into_iter().all(|slot| self.slots.keep(slot)) {
                    return damaged(Defect::Result);
                }
                Some(extent.offset)
            }
            _ if was_held => return damaged(Defect::Held),
            Found::Valid(ResultRecord::Planned { offset }) => Some(offset),
            // In this boot, a killed process may have torn the record before the draw was held.
            Found::Damaged if certainty == Certainty::AnotherBoot => return damaged(Defect::Held),
            Found::Damaged | Found::Blank => books
                .filter(|_| certainty == Certainty::ThisBoot)
                .map(|books| draw_file::result_offset(books.slots.len() as u32)),
        };
        let len = draw.metadata().map_err(read())?.len();
        let has_rest = |end: &u64| self.drawn.is_none() && (place != Found::Blank || len > *end);
        self.unfinished = end.filter(has_rest);
        Ok((draw_file::units(draw, end).map_err(read())?, end))
    }
}

/// The books that a start has found, in memory.
pub struct Books<'a> {
    paths: &'a Paths,
    /// The file.
    pub file: &'a File,
    /// The head. Both halves may be damaged.
    pub head: Pair<Head>,
    /// The slots by their numbers.
    pub slots: Vec<Pair<Entry>>,
}

impl<'a> Books<'a> {
    /// Reads the head and all slots.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the file is shorter than its header records, or longer than any books; [`Error::Io`] if fstat(2) or pread(2) fails.
    pub fn read(paths: &'a Paths, file: &'a File, header: Header) -> Result<Self> {
        let read = || Error::io("read", &paths.books);
        let len = file.metadata().map_err(read())?.len();
        if len < header.min_len() || len > books::PairOffset::slot(slots::MOST).at() {
            return Err(Error::damaged(&paths.books, Defect::Header));
        }
        let head = Pair::read_head(file).map_err(read())?;
        let mut slots = Vec::new();
        books::slots(file, |_, pair| slots.push(pair)).map_err(read())?;
        Ok(Self { paths, file, head, slots })
    }

    fn head(&self) -> Result<Head> {
        self.head.newest().ok_or_else(|| Error::damaged(&self.paths.books, Defect::Head))
    }

    /// The committed length, also that of a group whose writer died before it wrote the head.
    fn committed(&self, len: u64) -> Result<u64> {
        let head = self.head()?;
        let counts = books::rolled_forward(self.file, head, len).map_err(Error::io("read", &self.paths.books))?;
        Ok(counts.unwrap_or(head).committed)
    }

    /// Whether any half of the head says that the draw has been held.
    fn was_drawn(&self) -> bool {
        self.head.valid().any(|head| head.is_drawn)
    }

    fn entry(&self, number: u32) -> Option<Entry> {
        self.slots.get(number as usize)?.newest()
    }

    /// The newest entry of each slot that has one, with its number.
    pub fn entries(&self) -> impl Iterator<Item = (u32, Entry)> {
        (0..).zip(&self.slots).filter_map(|(number, pair)| Some((number, pair.newest()?)))
    }

    /// The agencies whose ends were synced, as any half of a slot has it.
    fn durable_ends(&self) -> impl Iterator<Item = AgencyId> {
        let durable = self.slots.iter().flat_map(|pair| pair.valid()).filter(|entry| entry.is_durable);
        durable.map(|entry| entry.agency).collect::<Vec<_>>().into_iter()
    }

    /// The agencies whose rows all came in untyped messages. An entry of other rows proves nothing.
    fn untyped(&self, tallies: &Tallies) -> HashSet<AgencyId> {
        let proves = |entry: &Entry| !entry.has_typed && entry.tally == tallies.of(entry.agency);
        self.entries().map(|(_, entry)| entry).filter(proves).map(|entry| entry.agency).collect()
    }

    /// The slots of all agencies that have an entry.
    fn slots(&self) -> Result<Slots> {
        let mut slots = Slots::default();
        for (number, entry) in self.entries() {
            if !slots.keep(Slot { agency: entry.agency, number }) {
                return Err(Error::damaged(&self.paths.books, Defect::Contradiction));
            }
        }
        Ok(slots)
    }

    /// Checks that every agency's rows are those of its slot.
    fn compare(&self, tallies: &Tallies, committed: u64) -> Result<()> {
        let differs = |defect| Error::damaged(&self.paths.bets, defect);
        for (_, entry) in self.entries() {
            tallies.compare(entry.agency, entry.tally, committed).map_err(differs)?;
        }
        let known: HashSet<_> = self.entries().map(|(_, entry)| entry.agency).collect();
        let unknown = tallies.agencies().into_iter().find(|agency| !known.contains(agency));
        let Some(agency) = unknown else { return Ok(()) };
        // The damaged slot may be this agency's: report the slot, not the rows.
        if self.slots.iter().any(|pair| pair.newest().is_none() && !pair.is_blank()) {
            return Err(Error::damaged(&self.paths.books, Defect::Slot(agency)));
        }
        Err(differs(tallies.differ(agency, Tally::default(), committed)))
    }
}

//! What a start decides about any files, as the tables of `docs/storage.md` describe it.

use std::collections::{BTreeMap, BTreeSet};

use loteria::bet::AgencyId;
use loteria::row::Tally;

use super::csv;
use super::numbers::crc32;
use super::records::{self, Drawn, Found, Half, Head, Place, Unit};

/// Most bytes that a server of this version leaves after the committed length.
const LARGEST_GROUP: usize = 256 * 1024;

/// The files when a server starts.
#[derive(Debug)]
pub struct Files {
    /// `bets.csv`.
    pub bets: Vec<u8>,
    /// `books`, if it is there.
    pub books: Option<Vec<u8>>,
    /// `draw`, if it is there.
    pub draw: Option<Vec<u8>>,
}

/// What a start finds, and what it leaves.
#[derive(Debug, Default)]
pub struct Decision {
    /// Bytes of `bets.csv` that are bets.
    pub committed: usize,
    /// The rows of each agency.
    pub rows: Rows,
    /// The agencies that have ended, and the numbers of their slots.
    pub ended: BTreeMap<AgencyId, usize>,
    /// The held draw.
    pub drawn: Option<Drawn>,
    /// `draw` after the start, if it was there.
    pub draw: Option<Vec<u8>>,
}

/// The tallies of valid rows.
pub type Rows = BTreeMap<AgencyId, Tally>;

/// The longest run of whole valid rows at the front of `bets`: its length in bytes, and the tallies.
pub fn run(bets: &[u8]) -> (usize, Rows) {
    let (mut len, mut bytes) = (0, BTreeMap::<AgencyId, (u64, Vec<u8>)>::new());
    for line in bets.split_inclusive(|&byte| byte == b'\n') {
        // No row is longer than 4096 bytes.
        let Some(bet) = csv::stored_bet(line).filter(|_| line.len() <= 4096) else { break };
        let (count, rows) = bytes.entry(bet.agency).or_default();
        *count += 1;
        rows.extend(line);
        len += line.len();
    }
    let tally = |(count, rows): (u64, Vec<u8>)| Tally { count, crc: crc32(&rows) };
    (len, bytes.into_iter().map(|(agency, rows)| (agency, tally(rows))).collect())
}

/// The decision of a start in the boot `boot`; `None` if it refuses the files.
pub fn decide(files: &Files, boot: Option<&[u8]>) -> Option<Decision> {
    let Files { bets, books, draw } = files;
    let header = match books {
        Some(books) => Some(records::books_header(books).valid()?),
        None => None,
    };
    if draw.as_ref().is_some_and(|draw| !records::draw_begins(draw)) {
        return None;
    }
    let Some(draw) = draw else {
        let (committed, rows) = run(bets);
        let is_lottery = books.is_none() && (committed > 0 || bets.is_empty());
        return is_lottery.then(|| Decision { committed, rows, ..Decision::default() });
    };
    let (Some(books), Some(header)) = (books, header) else { return elsewhere(bets, None, draw, bets.len()) };
    if books.len() < records::SLOTS + 2 * records::HALF * header.slots {
        return None;
    }
    if boot != Some(&header.boot) || header.boot.iter().all(|&byte| byte == 0) {
        return elsewhere(bets, Some(books), draw, bets.len());
    }
    let head = records::heads(books).into_iter().max_by_key(|head| (head.seq, head.flags))?;
    if head.flags & 4 != 0 {
        let limit = committed(head, &records::slots(books), bets.len());
        let limit = limit.or(usize::try_from(head.committed).ok()).unwrap_or(usize::MAX).min(bets.len());
        return elsewhere(bets, Some(books), draw, limit);
    }
    here(bets, books, head, draw)
}

/// With books of this boot.
fn here(bets: &[u8], books: &[u8], head: Head, draw: &[u8]) -> Option<Decision> {
    let pairs = records::slots(books);
    let committed = committed(head, &pairs, bets.len())?;
    let (len, rows) = run(bets.get(..committed)?);
    if len < committed || bets.len() - committed > LARGEST_GROUP {
        return None;
    }
    let newest = |pair: Vec<Half>| pair.into_iter().max_by_key(|half| (half.seq, half.flags));
    let slots: Vec<Option<Half>> = pairs.into_iter().map(newest).collect();
    let mut known = BTreeSet::new();
    for half in slots.iter().flatten() {
        if !known.insert(half.agency) || rows.get(&half.agency).copied().unwrap_or_default() != half.tally {
            return None;
        }
    }
    if rows.keys().any(|agency| !known.contains(agency)) {
        return None;
    }
    let Result { drawn, end, has_rest } = result(draw, Some(books), Some(slots.len()))?;
    let numbers = slots.iter().zip(0..).filter_map(|(half, number)| Some((half.as_ref()?.agency, number)));
    if !agree(numbers, drawn.as_ref()) {
        return None;
    }
    let mut decision = Decision { committed, rows, drawn, ..Decision::default() };
    let mut missing = Vec::new();
    for (number, unit) in records::units(draw, end, slots.len()).into_iter().enumerate() {
        let closed = slots.get(number).copied().flatten().filter(|half| half.flags & 1 != 0);
        let own: Option<Unit> = closed.map(|half| (half.agency, half.tally));
        match (unit, own) {
            (Found::Blank, None) => continue,
            (Found::Valid(unit), Some(own)) if unit == own => {}
            (Found::Valid(_), _) | (Found::Damaged, None) => return None,
            (_, Some(own)) => missing.push((number, own)),
        }
        decision.ended.insert(own?.0, number);
    }
    decision.leave(draw, (end, has_rest), &missing)
}

/// The committed length. A slot may be one commit newer than the head, if it ends past the head's length.
fn committed(head: Head, slots: &[Vec<Half>], len: usize) -> Option<usize> {
    let mut next = BTreeSet::new();
    for (number, half) in
        slots.iter().enumerate().flat_map(|(number, pair)| pair.iter().map(move |half| (number, half)))
    {
        let (is_newer, is_longer) = (half.seq > head.seq, half.end > head.committed);
        if is_newer && is_longer && half.seq - head.seq == 1 && half.end <= len as u64 {
            next.insert((number, half.end));
        } else if is_newer || is_longer {
            return None;
        }
    }
    let end = next.first().map_or(head.committed, |&(_, end)| end);
    (next.len() <= 1).then(|| usize::try_from(end).ok()).flatten()
}

/// With books of another boot, or without. Only the first `limit` bytes can be bets.
fn elsewhere(bets: &[u8], books: Option<&[u8]>, draw: &[u8], limit: usize) -> Option<Decision> {
    let (committed, rows) = run(&bets[..limit]);
    let Result { drawn, end, has_rest } = result(draw, books, None)?;
    let mut decision = Decision { committed, rows, drawn, ..Decision::default() };
    for (number, unit) in records::units(draw, end, 0).into_iter().enumerate() {
        let (agency, tally) = match unit {
            Found::Blank => continue,
            Found::Damaged => return None,
            Found::Valid(unit) => unit,
        };
        let is_proved = decision.rows.get(&agency).copied().unwrap_or_default() == tally;
        if decision.ended.insert(agency, number).is_some() || !is_proved {
            return None;
        }
    }
    if !agree(decision.ended.iter().map(|(&agency, &number)| (agency, number)), decision.drawn.as_ref()) {
        return None;
    }
    let durable = books.map(records::slots).into_iter().flatten().flatten().filter(|half| half.flags & 2 != 0);
    let is_gone = durable.into_iter().any(|half| !decision.ended.contains_key(&half.agency));
    let is_foreign = committed == 0 && bets.len() > LARGEST_GROUP;
    if is_gone || is_foreign { None } else { decision.leave(draw, (end, has_rest), &[]) }
}

/// Whether each agency has one slot, and each slot one agency, in these records and in the result.
fn agree(numbers: impl Iterator<Item = (AgencyId, usize)>, drawn: Option<&Drawn>) -> bool {
    let (mut agencies, mut slots) = (BTreeMap::new(), BTreeMap::new());
    numbers.chain(drawn.into_iter().flat_map(Drawn::slots)).all(|(agency, number)| {
        *agencies.entry(agency).or_insert(number) == number && *slots.entry(number).or_insert(agency) == agency
    })
}

/// What `draw` has after the units.
struct Result {
    /// The held draw.
    drawn: Option<Drawn>,
    /// Where the units end.
    end: Option<u64>,
    /// Whether there is a record or a result that does not count.
    has_rest: bool,
}

/// The result in `draw`; `None` if the files are refused. `here` is the number of slots in books of this boot: a process
/// of this boot may have torn the held record.
fn result(draw: &[u8], books: Option<&[u8]>, here: Option<usize>) -> Option<Result> {
    let was_held = books.is_some_and(|books| records::heads(books).iter().any(|head| head.flags & 2 != 0));
    let units_end = here.map(|slots| records::page_after(slots as u64));
    match records::place(draw) {
        Found::Valid(Place::Held(crc, offset, len)) => {
            let drawn = records::drawn(draw, crc, offset, len)?;
            Some(Result { drawn: Some(drawn), end: Some(offset), has_rest: false })
        }
        _ if was_held => None,
        Found::Valid(Place::Planned(offset)) => Some(Result { drawn: None, end: Some(offset), has_rest: true }),
        Found::Damaged => Some(Result { drawn: None, end: Some(units_end?), has_rest: true }),
        Found::Blank => {
            let has_rest = units_end.is_some_and(|end| draw.len() as u64 > end);
            Some(Result { drawn: None, end: units_end, has_rest })
        }
    }
}

impl Decision {
    /// Completes `draw`: writes ends that only the books have, and discards a result that does not count.
    fn leave(mut self, draw: &[u8], (end, has_rest): (Option<u64>, bool), missing: &[(usize, Unit)]) -> Option<Self> {
        let mut after = draw.to_vec();
        for &(number, unit) in missing {
            let at = records::UNITS + number * records::UNIT;
            let to = at + records::UNIT;
            if end.is_some_and(|end| to as u64 > end) {
                return None;
            }
            after.resize(after.len().max(to), 0);
            after[at..to].copy_from_slice(&records::unit(unit));
        }
        if let Some(end) = end.filter(|_| has_rest) {
            after.resize(end as usize, 0);
            after[records::UNIT..records::UNITS].fill(0);
        }
        self.draw = Some(after);
        Some(self)
    }
}

/// Whether a start keeps untyped bets away from an agency with these rows: `books` do not prove that all are untyped.
pub fn has_typed(books: Option<&[u8]>, agency: AgencyId, rows: Tally) -> bool {
    let newest = |pair: Vec<Half>| pair.into_iter().max_by_key(|half| (half.seq, half.flags));
    let slots = books.map(records::slots).into_iter().flatten().filter_map(newest);
    let mut own = slots.filter(|half| half.agency == agency);
    rows.count > 0 && !own.any(|half| half.tally == rows && half.flags & 4 == 0)
}

//! A start of the server on files with any content. The start keeps the longest run of whole valid rows from the start
//! of the file, and moves the rest aside, byte for byte. It ignores damaged records. A second start finds the same and
//! changes nothing. After that the store accepts bets and ends.
//!
//! Input: a byte of [`Options`]; then bets.csv, ends, draw and bets.lock, with [`SEPARATOR`] between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;

use loteria::bet::{AgencyId, Bet};
use loteria::durability::Durability;
use loteria::row::Tally;
use loteria::storage::start::{self, Adopted};
use loteria::storage::{Error, Paths, Store};

use super::oracle::numbers::{crc32, number};
use super::oracle::{csv, records};
use super::scratch;

/// Separates the files of an input. Never part of valid UTF-8.
const SEPARATOR: &[u8] = b"\xff=\xff";

/// The bits of the first byte.
struct Options(u8);

impl Options {
    fn repairs_ends(&self) -> bool {
        self.0 & 1 != 0
    }

    fn repairs_draw(&self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether bets.lock gets a record that a server wrote for this file since the last boot.
    fn has_record(&self) -> bool {
        self.0 & 0x0c == 4
    }

    /// Whether bets.lock gets such a record with one flipped bit.
    fn has_flipped_record(&self) -> bool {
        self.0 & 0x0c == 8
    }

    fn durability(&self) -> Durability {
        if self.0 & 0x10 != 0 { Durability::End } else { Durability::Process }
    }
}

/// The files when the server starts.
struct Found {
    bets: Vec<u8>,
    ends: Vec<u8>,
    draw: Vec<u8>,
    /// The committed length, if the record is valid.
    committed: Option<usize>,
    durability: Durability,
}

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some((&options, rest)) = input.split_first() else { return };
    let paths = Paths::beside(&scratch::path("bets.csv"));
    let found = lay_out(&paths, &Options(options), rest);
    let kept = found.committed.unwrap_or_else(|| end_of(&rows(&found.bets)));
    let all_bets = rows(&found.bets[..kept.min(found.bets.len())]);
    let valid = end_of(&all_bets);
    if valid < kept {
        return refused_and_unchanged(&paths, &found, kept, valid);
    }
    let (store, adopted) = start::prepare(&paths, found.durability).unwrap();
    files_are(&paths, &found, kept);
    loaded_are(&store, &all_bets);
    adopted_are(&store, &adopted, &found, &all_bets, kept);
    drop(store);

    let (store, again) = start::prepare(&paths, found.durability).unwrap();
    files_are(&paths, &found, kept);
    assert_eq!(adopted.tallies.len(), again.tallies.len());
    adopted_are(&store, &again, &found, &all_bets, kept);
    accepts_more(&store, &found, &all_bets);
}

/// Writes the files of `input`.
fn lay_out(paths: &Paths, options: &Options, input: &[u8]) -> Found {
    let mut parts = split(input).map(<[u8]>::to_vec);
    let [bets, mut ends, mut draw, lock] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    if options.repairs_ends() {
        records::repair_ends(&mut ends);
    }
    if options.repairs_draw() {
        records::repair_draw(&mut draw);
    }
    let _ = fs::remove_file(&paths.rejected);
    for (path, bytes) in [(&paths.bets, &bets), (&paths.ends, &ends), (&paths.draw, &draw)] {
        fs::write(path, bytes).unwrap();
    }
    let (lock, committed) = lock_of(paths, options, lock);
    fs::write(&paths.lock, lock).unwrap();
    Found { bets, ends, draw, committed, durability: options.durability() }
}

fn split(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut done = false;
    std::iter::from_fn(move || {
        let end = input.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        input = rest.strip_prefix(SEPARATOR).unwrap_or_default();
        (!std::mem::replace(&mut done, end.is_none())).then_some(part)
    })
}

/// The content of bets.lock, and the committed length if its record is valid. If the options ask for a record, `raw`
/// holds the committed length in two bytes, and then the number of the bit to flip.
fn lock_of(paths: &Paths, options: &Options, raw: Vec<u8>) -> (Vec<u8>, Option<usize>) {
    if !options.has_record() && !options.has_flipped_record() {
        return (raw, None);
    }
    let len = number(&raw[..raw.len().min(2)]);
    let mut record = records::committed(&paths.bets, len).unwrap();
    if options.has_record() {
        return (record, Some(len as usize));
    }
    let bit = number(&raw[raw.len().min(2)..raw.len().min(4)]) as usize % (record.len() * 8);
    record[bit / 8] ^= 1 << (bit % 8);
    (record, None)
}

/// The longest run of whole valid rows: the position and the bet of each.
fn rows(bets: &[u8]) -> Vec<(Range<usize>, Bet)> {
    let mut start = 0;
    let lines = bets.split_inclusive(|&byte| byte == b'\n').map(|line| {
        start += line.len();
        (start - line.len()..start, line)
    });
    lines.map_while(|(place, line)| Some((place, csv::stored_bet(line)?))).collect()
}

/// The end of the last of these rows.
fn end_of(rows: &[(Range<usize>, Bet)]) -> usize {
    rows.last().map_or(0, |(place, _)| place.end)
}

/// Committed rows are missing or are not bets: the start fails and changes no file.
fn refused_and_unchanged(paths: &Paths, found: &Found, committed: usize, valid: usize) {
    let refused = start::prepare(paths, found.durability).map(|_| ());
    let is_short = found.bets.len() < committed;
    match refused {
        Err(Error::Truncated { .. }) => assert!(is_short),
        Err(Error::Damaged { offset, .. }) => assert!(!is_short && offset == valid as u64),
        other => panic!("{other:?}"),
    }
    files_are(paths, found, found.bets.len());
}

fn files_are(paths: &Paths, found: &Found, kept: usize) {
    let rejected = fs::read(&paths.rejected).unwrap_or_default();
    for (path, is, should) in [
        (&paths.bets, fs::read(&paths.bets).unwrap(), &found.bets[..kept]),
        (&paths.rejected, rejected, &found.bets[kept..]),
        (&paths.ends, fs::read(&paths.ends).unwrap(), &found.ends),
        (&paths.draw, fs::read(&paths.draw).unwrap(), &found.draw),
    ] {
        assert!(is == should, "{}: {}, not {}", path.display(), is.escape_ascii(), should.escape_ascii());
    }
}

fn adopted_are(store: &Store, adopted: &Adopted, found: &Found, bets: &[(Range<usize>, Bet)], kept: usize) {
    assert_eq!(adopted.tallies.len(), kept as u64);
    tallies_are(store, adopted, &found.bets, bets);
    assert_eq!(adopted.ended, records::ended(&found.ends));
    assert_eq!(store.ended().unwrap(), adopted.ended);
    let drawn = records::drawn(&found.draw);
    assert_eq!(adopted.drawn, drawn.as_ref().map(|drawn| drawn.terms));
    for (&agency, documents) in drawn.iter().flat_map(|drawn| &drawn.winners) {
        if let Some(agency) = AgencyId::new(agency) {
            assert_eq!(store.winners(agency).unwrap().as_ref(), Some(documents));
        }
    }
}

fn tallies_are(store: &Store, adopted: &Adopted, bytes: &[u8], bets: &[(Range<usize>, Bet)]) {
    let mut by_agency: BTreeMap<AgencyId, (u64, Vec<u8>)> = BTreeMap::new();
    for (place, bet) in bets {
        let (count, rows) = by_agency.entry(bet.agency).or_default();
        *count += 1;
        rows.extend(&bytes[place.clone()]);
    }
    assert_eq!(adopted.tallies.bets(), bets.len() as u64);
    for (agency, (count, rows)) in by_agency {
        let tally = adopted.tallies.of(agency);
        assert_eq!(tally, Tally { count, crc: crc32(&rows) }, "agency {agency}");
        assert_eq!(store.tally(agency, &adopted.tallies).unwrap(), tally);
    }
}

/// The store reads these bets back.
fn loaded_are(store: &Store, bets: &[(Range<usize>, Bet)]) {
    let loaded: Vec<Bet> = store.load_bets().unwrap().collect::<Result<_, _>>().unwrap();
    assert!(loaded.iter().eq(bets.iter().map(|(_, bet)| bet)));
    for number in bets.iter().map(|(_, bet)| bet.number).take(2) {
        let on = bets.iter().map(|(_, bet)| bet).filter(|bet| bet.number == number);
        let found = store.load_bets_with(number, store.committed_len().unwrap());
        let loaded: Vec<_> = found.map_while(Result::ok).take(on.clone().count()).collect();
        assert!(loaded.iter().eq(on), "bets on {number}: {loaded:?}");
    }
}

/// The store adds new bets and ends after those it found.
fn accepts_more(store: &Store, found: &Found, bets: &[(Range<usize>, Bet)]) {
    let ended = records::ended(&found.ends);
    let agency = (1..).filter_map(AgencyId::new).find(|agency| !ended.contains(agency)).unwrap();
    let bet = Bet::new(agency, ["Ana, \"La\"".as_bytes(), "Díaz".as_bytes()], 1, b"2000-02-29", 7574).unwrap();
    store.store_bets(std::slice::from_ref(&bet)).unwrap();
    let all: Vec<Bet> = store.load_bets().unwrap().collect::<Result<_, _>>().unwrap();
    assert!(all.iter().eq(bets.iter().map(|(_, bet)| bet).chain([&bet])));
    store.end(agency).unwrap();
    let ended: BTreeSet<_> = ended.into_iter().chain([agency]).collect();
    assert_eq!(store.ended().unwrap(), ended);
    assert!(matches!(store.store_bets(&[bet]), Err(Error::Ended)));
}

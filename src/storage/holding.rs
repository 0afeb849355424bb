//! The steps of the draw, in the process that holds it.
//!
//! All agencies have ended, so nothing changes the rows or the ends any more. The process does not rely on the parent for
//! that: it finds all ends in the books. It proves that the rows of every agency are those of its end, writes the result, and
//! only then the record that makes the result count.
//!
//! | step | remains if the process dies after this step |
//! |---|---|
//! | make the bets and all ends durable; plan the place of the result | ends |
//! | scan the bets and compare them with the ends | the same |
//! | write and sync the result | a result that does not count; the next process overwrites it |
//! | write and sync the record that the draw is held | a held draw; the next process only repeats the last step |
//! | record it in the head, and sync the books | the same |

use std::fs::File;
use std::path::Path;

use super::books::{Entry, Pair};
use super::commit;
use super::draw_file::{self, ResultRecord, Unit};
use super::error::{Defect, Error, Result};
use super::files::{Files, runs};
use super::results::{self, Terms};
use super::slots::{Slot, Slots};
use super::store::Store;
use super::tallies::{FirstRun, Tallies};
use crate::bet::AgencyId;
use crate::draw::{self, Winners};
use crate::row::Tally;
use crate::row_scan;

/// Holds the draw, which is final, unless it has been held.
///
/// # Errors
/// [`Error::Damaged`] if an agency has not ended, or its rows are not those that it has ended with; [`Error::Sync`] if a sync fails;
/// [`Error::Io`] if another system call fails. Then the draw is not held.
pub fn hold(store: &Store, slots: &Slots, agencies: u32, winning_number: u32) -> Result<()> {
    if store.held()?.is_none() {
        let committed = store.lock()?.recovered_head()?.committed;
        let recorded = complete_units(store, slots, agencies)?;
        let Files { bets, paths, .. } = store.files();
        let winners = winners((bets, &paths.bets), &recorded, committed, winning_number)?;
        write_result(store, slots, Terms { agencies, winning_number, committed }, &winners)?;
    }
    let Files { books, draw, paths, .. } = store.files();
    store.sync(draw, &paths.draw)?;
    store.lock()?.record_draw()?;
    store.sync(books, &paths.books)
}

/// Makes the bets and the ends of all agencies durable, and plans the place of the result. Returns the tally that is
/// recorded for each slot.
///
/// # Errors
/// [`Error::Damaged`] if one of the `agencies` has not ended, or if a unit contradicts its slot; the errors of the calls.
fn complete_units(store: &Store, slots: &Slots, agencies: u32) -> Result<Vec<(AgencyId, Tally)>> {
    let Files { bets, draw, paths, .. } = store.files();
    let write = || Error::io("write", &paths.draw);
    let pairs = commit::read_slots(store.files(), slots)?;
    check_ends(&pairs, slots, agencies).map_err(|defect| Error::damaged(&paths.books, defect))?;
    store.sync(bets, &paths.bets)?;
    let offset = draw_file::result_offset(slots.count());
    ResultRecord::Planned { offset }.write(draw).map_err(write())?;
    let units = draw_file::units(draw, Some(offset)).map_err(Error::io("read", &paths.draw))?;
    let mut recorded = Vec::new();
    for slot in slots.iter() {
        let number = slot.number as usize;
        let Entry { tally, is_closed, .. } = pairs[number].entry(slot.agency);
        let unit = units.get(number).and_then(|unit| unit.valid());
        if unit.is_some_and(|unit| !is_closed || unit != Unit { agency: slot.agency, tally }) {
            return Err(Error::damaged(&paths.draw, Defect::Unit(slot.number)));
        }
        if is_closed && unit.is_none() {
            Unit { agency: slot.agency, tally }.write(draw, slot.number).map_err(write())?;
        }
        recorded.push((slot.agency, tally));
    }
    store.sync(draw, &paths.draw)?;
    Ok(recorded)
}

/// Checks that the books have the end of each of the `agencies`: whoever deceived the parent gets no early draw.
fn check_ends(pairs: &[Pair<Entry>], slots: &Slots, agencies: u32) -> std::result::Result<(), Defect> {
    let is_closed = |slot: Slot| pairs[slot.number as usize].entry(slot.agency).is_closed;
    let mut all = (1..=agencies).filter_map(AgencyId::new);
    all.find(|&agency| !slots.of(agency).is_some_and(is_closed)).map_or(Ok(()), |open| Err(Defect::EndUnknown(open)))
}

/// The winners among the first `committed` bytes, all rows of which must be those that are `recorded`.
///
/// Rows are validated before they are recorded, so rows with a recorded count and CRC-32 are valid. A scan that only
/// compares takes a fifth of the time. If it finds a difference, a scan that validates decides, and reports the
/// defect: what follows an invalid row belongs to no agency.
fn winners(bets: (&File, &Path), recorded: &[(AgencyId, Tally)], committed: u64, number: u32) -> Result<Winners> {
    let (tallies, winners) = scan(bets, committed, number, row_scan::first_likely_run)?;
    if tallies.compare_all(recorded, committed).is_ok() {
        return Ok(winners);
    }
    let (tallies, winners) = scan(bets, committed, number, row_scan::first_run)?;
    tallies.compare_all(recorded, committed).map_err(|defect| Error::damaged(bets.1, defect))?;
    Ok(winners)
}

fn scan(bets: (&File, &Path), committed: u64, number: u32, first_run: FirstRun) -> Result<(Tallies, Winners)> {
    let mut winners = Winners::new();
    let mut add = |rows: &[u8]| draw::add_winners(rows, number, &mut winners);
    let tallies = runs(bets, committed, first_run, &|| false, &mut add)?;
    Ok((tallies, winners))
}

fn write_result(store: &Store, slots: &Slots, terms: Terms, winners: &Winners) -> Result<()> {
    let Files { draw, paths, .. } = store.files();
    let write = || Error::io("write", &paths.draw);
    let result = results::encode(terms, winners, slots).map_err(write())?;
    let extent = results::write(draw, draw_file::result_offset(slots.count()), &result).map_err(write())?;
    store.sync(draw, &paths.draw)?;
    commit::check_not_doubtful(store.files())?;
    ResultRecord::Held(extent).write(draw).map_err(write())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::io::Write;

    const NUMBER: u32 = 7574;

    /// As [`winners`], row by row and by [`row::parse`] only.
    fn by_parse(bytes: &[u8], recorded: &[(AgencyId, Tally)]) -> std::result::Result<Winners, String> {
        let (mut tallies, mut winners, mut len) = (BTreeMap::<_, Tally>::new(), Winners::new(), 0);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let Some(bet) = row::parse(line) else { break };
            len += line.len();
            tallies.entry(bet.agency).or_default().add(line);
            if bet.number == NUMBER {
                winners.entry(bet.agency).or_default().push(bet.document);
            }
        }
        let known = recorded.iter().copied();
        let unknown = tallies.keys().filter(|&agency| !recorded.iter().any(|(known, _)| known == agency));
        let of = |agency| tallies.get(&agency).copied().unwrap_or_default();
        let differs = known
            .chain(unknown.map(|&agency| (agency, Tally::default())))
            .find(|&(agency, expected)| of(agency) != expected);
        differs.map_or(Ok(winners), |(agency, Tally { count: expected, .. })| {
            let valid = (len < bytes.len()).then_some(len as u64);
            let defect = Defect::Rows { agency, expected, found: of(agency).count, valid };
            Err(Error::damaged(Path::new("bets.csv"), defect).to_string())
        })
    }

    fn assert_as_by_parse(bytes: &[u8], recorded: &[(AgencyId, Tally)]) -> std::result::Result<Winners, String> {
        let found = winners((&file_of(bytes), Path::new("bets.csv")), recorded, bytes.len() as u64, NUMBER);
        let found = found.map_err(|e| e.to_string());
        assert_eq!(found, by_parse(bytes, recorded), "{}", bytes.escape_ascii());
        found
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// The tallies of `rows`, as they were recorded.
    fn tallies_of(rows: &[Vec<u8>]) -> Vec<(AgencyId, Tally)> {
        let mut tallies = BTreeMap::<_, Tally>::new();
        rows.iter().for_each(|row| tallies.entry(row::parse(row).unwrap().agency).or_default().add(row));
        tallies.into_iter().collect()
    }

    fn any_row() -> impl Strategy<Value = Vec<u8>> {
        let agency =
            prop_oneof![Just("1"), Just("2"), Just("12"), Just("01"), Just("\"1\""), Just("\"\"1"), Just("\"2\"")];
        let name = prop_oneof!["[a-z]{1,9}", Just("\"a,b\"".to_owned()), Just("\"\"\"q\"\"\"".to_owned())];
        let number = prop_oneof![
            Just("7574"),
            Just("07574"),
            Just("17574"),
            Just("757"),
            Just("75741"),
            Just("\"7574\""),
            Just("\"75\"74"),
            Just("\"\"7574"),
            Just("\"17574\""),
            Just("\"757\"4"),
            Just("\"007574\""),
            Just("8"),
        ];
        (agency, name, 0_u32..5, number)
            .prop_map(|(agency, name, document, number)| {
                format!("{agency},{name},Paz,{document},1999-03-17,{number}\r\n")
            })
            .prop_map(String::into_bytes)
    }

    #[derive(Debug, Clone)]
    enum Change {
        Byte(u8),
        Insert(Vec<u8>),
        Cut(usize),
        Truncate,
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let bytes = prop_oneof![
            any_row(),
            any_row().prop_map(|row| row[2..].to_vec()),
            "[0-9,\"\r\n]{1,6}".prop_map(String::into_bytes)
        ];
        let unknown = Just(b"3,Ana,Paz,1,1999-03-17,7574\r\n".to_vec());
        prop_oneof![
            any::<u8>().prop_map(Change::Byte),
            prop::sample::select(&b"0123456789,\"\r\n"[..]).prop_map(Change::Byte),
            prop_oneof![bytes, unknown].prop_map(Change::Insert),
            (1_usize..60).prop_map(Change::Cut),
            Just(Change::Truncate),
        ]
    }

    fn changed(mut bytes: Vec<u8>, at: usize, change: Change) -> Vec<u8> {
        match change {
            Change::Byte(byte) => bytes[at] = byte,
            Change::Insert(more) => drop(bytes.splice(at..at, more)),
            Change::Cut(len) => drop(bytes.drain(at..(at + len).min(bytes.len()))),
            Change::Truncate => bytes.truncate(at),
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn a_draw_is_as_by_parse(rows in prop::collection::vec(any_row(), 0..12)) {
            let (bytes, recorded) = (rows.concat(), tallies_of(&rows));
            prop_assert!(assert_as_by_parse(&bytes, &recorded).is_ok());
            let (tallies, _) = scan((&file_of(&bytes), Path::new("")), bytes.len() as u64, NUMBER, row_scan::first_likely_run).unwrap();
            prop_assert_eq!(tallies.compare_all(&recorded, 0), Ok(()), "one scan is enough");
        }

        #[test]
        fn a_draw_over_changed_rows_is_refused_as_by_parse(
            rows in prop::collection::vec(any_row(), 1..12),
            at in any::<prop::sample::Index>(),
            at_a_row: bool,
            change in any_change(),
        ) {
            let bytes = rows.concat();
            let at = if at_a_row { rows[..at.index(rows.len())].concat().len() } else { at.index(bytes.len()) };
            let _ = assert_as_by_parse(&changed(bytes, at, change), &tallies_of(&rows));
        }
    }

    #[test]
    fn rows_across_the_ends_of_blocks_are_drawn() {
        let long = format!("2,{},Paz,5,1999-03-17,7574\r\n", "x".repeat(row::MAX_LEN - 30));
        let row = |n: u32| match n % 97 {
            0 => long.clone().into_bytes(),
            _ => format!("{},Ana,Paz,{n},1999-03-17,{}\r\n", n / 100 % 3 + 1, n % 7600).into_bytes(),
        };
        let mut rows: Vec<_> = (0..30_000).map(row).collect();
        let recorded = tallies_of(&rows);
        assert!(rows.concat().len() > 1 << 21);
        assert!(assert_as_by_parse(&rows.concat(), &recorded).unwrap()[&AgencyId::new(2).unwrap()].len() > 300);
        rows[29_999] = format!("2,{},Paz,5,1999-03-17,7574\r\n", "x".repeat(1 << 20)).into_bytes();
        assert!(assert_as_by_parse(&rows.concat(), &recorded).is_err());
    }

    #[test]
    fn bytes_that_belong_to_no_agency_end_the_scan() {
        let rows = [b"1,Ana,Paz,9,1999-03-17,7574\r\n".to_vec(), b"2,Ana,Paz,8,1999-03-17,7574\r\n".to_vec()];
        let recorded = tallies_of(&rows);
        for (after, is_drawn) in [
            (&b"torn"[..], true),
            (b"1,torn", true),
            (b"x\r\n1,Ana,Paz,9,1999-03-17,7574\r\n", true),
            (b"1,invalid\r\n", true),
            (b"1,Ana,Paz,9,1999-03-17,7574\r\n", false),
            (b"3,Ana,Paz,9,1999-03-17,7574\r\n", false),
        ] {
            let bytes = [&rows.concat(), after].concat();
            assert_eq!(assert_as_by_parse(&bytes, &recorded).is_ok(), is_drawn, "{}", after.escape_ascii());
        }
    }

    #[test]
    fn a_tally_needs_both_count_and_checksum() {
        let rows = [b"1,Ana,Paz,9,1999-03-17,7574\r\n".to_vec()];
        let [(agency, tally)] = tallies_of(&rows)[..] else { panic!("one agency") };
        for recorded in [Tally { count: 2, ..tally }, Tally { crc: !tally.crc, ..tally }, Tally::default()] {
            assert!(assert_as_by_parse(&rows.concat(), &[(agency, recorded)]).is_err());
        }
        assert!(assert_as_by_parse(&rows.concat(), &[]).is_err());
        assert!(assert_as_by_parse(b"", &[(agency, tally)]).is_err());
    }
}

//! Damages of `bets.csv`.

use std::fs;

use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// More bytes than a session stores under one lock.
const LONG_TAIL: usize = 4 << 20;
/// A row of agency 1 in the middle of the file, and one near the end.
const MIDDLE: usize = 500;

#[derive(Clone, Copy)]
struct Damage {
    name: &'static str,
    /// Returns the damaged content, or `None` for a file that is removed.
    spoil: fn(Vec<u8>) -> Option<Vec<u8>>,
    /// Valid rows of agency 1 that a start finds, if only this agency differs.
    found: Option<u64>,
    /// Agencies whose rows are still all there.
    whole: &'static [u32],
}

const DAMAGES: [Damage; 10] = [
    Damage { name: "its first 500 rows", spoil: |bets| Some(some_rows(&bets, 0..500)), found: Some(497), whole: &[2] },
    Damage { name: "emptied", spoil: |_| Some(Vec::new()), found: None, whole: &[] },
    Damage { name: "removed", spoil: |_| None, found: None, whole: &[] },
    Damage { name: "a digit changed", spoil: digit_changed, found: Some(1000), whole: &[2] },
    Damage { name: "two rows swapped", spoil: swapped, found: Some(1000), whole: &[2] },
    Damage { name: "LF line ends", spoil: with_line_feeds, found: None, whole: &[] },
    Damage { name: "a NUL in the middle", spoil: with_nul, found: Some(497), whole: &[2] },
    Damage { name: "a row removed", spoil: |bets| Some(without_row(&bets)), found: Some(999), whole: &[2] },
    Damage { name: "a foreign row inserted", spoil: with_inserted_row, found: None, whole: &[1] },
    Damage { name: "a long tail", spoil: with_long_tail, found: None, whole: &[1, 2] },
];

fn lines(bets: &[u8]) -> Vec<&[u8]> {
    bets.split_inclusive(|&byte| byte == b'\n').collect()
}

fn some_rows(bets: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    lines(bets)[range].concat()
}

fn without_row(bets: &[u8]) -> Vec<u8> {
    let mut rows = lines(bets);
    rows.remove(MIDDLE);
    rows.concat()
}

fn middle_row(bets: &[u8]) -> usize {
    lines(bets)[..MIDDLE].concat().len()
}

fn digit_changed(mut bets: Vec<u8>) -> Option<Vec<u8>> {
    let digit = middle_row(&bets) + "1,Ana,Paz,".len();
    bets[digit] = b'9';
    Some(bets)
}

fn swapped(bets: Vec<u8>) -> Option<Vec<u8>> {
    let mut rows = lines(&bets);
    rows.swap(MIDDLE, MIDDLE + 1);
    Some(rows.concat())
}

fn with_line_feeds(mut bets: Vec<u8>) -> Option<Vec<u8>> {
    bets.retain(|&byte| byte != b'\r');
    Some(bets)
}

fn with_nul(mut bets: Vec<u8>) -> Option<Vec<u8>> {
    let middle = middle_row(&bets);
    bets[middle + 3] = 0;
    Some(bets)
}

fn with_inserted_row(bets: Vec<u8>) -> Option<Vec<u8>> {
    let inserted = row(2, 6, WINNING);
    let mut rows = lines(&bets);
    rows.insert(MIDDLE, inserted.as_bytes());
    Some(rows.concat())
}

fn with_long_tail(mut bets: Vec<u8>) -> Option<Vec<u8>> {
    bets.resize(bets.len() + LONG_TAIL, b'x');
    Some(bets)
}

/// The longest run of whole valid rows. All damaged rows of this module lack their CR, have a NUL, or are torn.
fn valid_run(bets: &[u8]) -> Vec<u8> {
    let is_valid = |line: &&&[u8]| line.ends_with(b"\r\n") && !line.contains(&0);
    lines(bets).iter().take_while(is_valid).copied().collect::<Vec<_>>().concat()
}

/// The content before the damage, and the damaged lottery.
fn spoiled(damage: &Damage, stage: Stage, boot: Boot) -> (Vec<u8>, Setup) {
    let setup = lottery_of(stage, boot);
    let bets = setup.path("bets.csv");
    let original = fs::read(&bets).unwrap();
    match (damage.spoil)(original.clone()) {
        Some(damaged) => fs::write(&bets, damaged).unwrap(),
        None => fs::remove_file(&bets).unwrap(),
    }
    (original, setup)
}

/// The start is refused; after `--repair`, the agencies whose rows are whole keep them and their end, and all others
/// send again.
fn refused_then_repaired(damage: &Damage, stage: Stage, boot: Boot) {
    let (original, setup) = spoiled(damage, stage, boot);
    let (line, setup) = refused(setup, &["bets.csv"]);
    if let Some(found) = damage.found {
        assert_names(&line, 1, [1000, found]);
    }
    let setup = repaired(setup);
    let is_kept = |line: &&[u8]| damage.whole.contains(&if line.starts_with(b"1,") { 1 } else { 2 });
    let kept: Vec<_> = lines(&original).into_iter().filter(is_kept).collect();
    let bets = fs::read(setup.path("bets.csv")).unwrap();
    assert!(bets == kept.concat(), "{} rows are kept, not {}", lines(&bets).len(), kept.len());
    let server = setup.start();
    for agency in [1, 2] {
        let ended = agency == 1 && stage == Stage::Ended;
        let expected = if damage.whole.contains(&agency) { full(agency, ended) } else { (0, false, 0) };
        assert_eq!(server.tally(agency), expected, "agency {agency}");
    }
    finish(&server);
    server.stop();
}

/// The start goes on with the longest run of valid rows, and moves the other bytes aside.
fn longest_run_counts(damage: &Damage, stage: Stage) {
    let (_, setup) = spoiled(damage, stage, Boot::Another);
    let damaged = fs::read(setup.path("bets.csv")).unwrap();
    let run = valid_run(&damaged);
    let server = setup.start();
    assert!(server.bets() == run, "not the longest run");
    assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap_or_default(), damaged[run.len()..]);
    for agency in [1, 2] {
        let rows = rows_of(&run, agency);
        let ended = agency == 1 && stage == Stage::Ended;
        let expected = (rows.lines().count() as u64, ended, crc32fast::hash(rows.as_bytes()));
        assert_eq!(server.tally(agency), expected, "agency {agency}");
    }
    if is_front(&run) {
        finish(&server);
    }
    server.stop();
}

/// Whether each agency's rows are the first ones that it sends.
fn is_front(run: &[u8]) -> bool {
    [1, 2].into_iter().all(|agency| all_rows(agency).starts_with(&rows_of(run, agency)))
}

fn cases(names: impl Fn(&str) -> bool) -> impl Iterator<Item = (String, Damage)> {
    DAMAGES.into_iter().filter(move |damage| names(damage.name)).map(|damage| (damage.name.to_owned(), damage))
}

/// In another boot, no record proves that an agency which has not ended had other rows.
fn is_unproved(name: &str) -> bool {
    ["a foreign row inserted", "a long tail"].contains(&name)
}

#[test]
fn damaged_rows_of_an_ended_agency_are_refused_in_this_boot() {
    for_each(cases(|_| true), |damage| refused_then_repaired(&damage, Stage::Ended, Boot::This));
}

#[test]
fn damaged_rows_of_an_ended_agency_are_refused_in_another_boot() {
    for_each(cases(|name| !is_unproved(name)), |damage| refused_then_repaired(&damage, Stage::Ended, Boot::Another));
}

#[test]
fn damage_outside_ended_agencies_goes_on_in_another_boot() {
    for_each(cases(is_unproved), |damage| longest_run_counts(&damage, Stage::Ended));
}

#[test]
fn damaged_rows_of_an_open_agency_are_refused_in_this_boot() {
    for_each(cases(|_| true), |damage| refused_then_repaired(&damage, Stage::Open, Boot::This));
}

#[test]
fn the_longest_run_of_an_open_agency_counts_in_another_boot() {
    let cases = cases(|name| !["removed", "LF line ends"].contains(&name));
    for_each(cases, |damage| longest_run_counts(&damage, Stage::Open));
}

#[test]
fn bets_that_are_missing_beside_books_and_draw_are_refused() {
    for boot in [Boot::This, Boot::Another] {
        let setup = lottery_of(Stage::Open, boot);
        fs::remove_file(setup.path("bets.csv")).unwrap();
        let (_, setup) = refused(setup, &["bets.csv"]);
        let server = repaired(setup).start();
        assert_eq!(server.bets(), b"");
        finish(&server);
    }
}

#[test]
fn rows_appended_by_another_program_are_moved_aside() {
    for stage in [Stage::Open, Stage::Ended] {
        let setup = lottery(stage);
        let before = fs::read(setup.path("bets.csv")).unwrap();
        let forged = row(1, 666, WINNING) + &row(2, 666, WINNING);
        edit(&setup.path("bets.csv"), |bets| bets.extend(forged.as_bytes()));
        let server = setup.start();
        assert!(server.bets() == before, "{stage:?}: not cut off");
        assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), forged.as_bytes());
        finish(&server);
    }
    // In another boot, the unit of the ended agency proves that its last row is not one of its bets.
    let setup = lottery_of(Stage::Ended, Boot::Another);
    edit(&setup.path("bets.csv"), |bets| bets.extend(row(1, 666, WINNING).as_bytes()));
    let (line, _) = refused(setup, &["bets.csv"]);
    assert_names(&line, 1, [1000, 1001]);
}

#[test]
fn a_replacing_file_with_the_same_rows_is_the_same() {
    for boot in [Boot::This, Boot::Another] {
        let setup = lottery_of(Stage::Ended, boot);
        fs::copy(setup.path("bets.csv"), setup.path("restored")).unwrap();
        fs::rename(setup.path("restored"), setup.path("bets.csv")).unwrap();
        let server = setup.start();
        assert_eq!(server.tally(1), full(1, true), "{boot:?}");
        finish(&server);
    }
}

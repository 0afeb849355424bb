//! Files of the older version: a start refuses them, and `--repair` converts them.

use std::fs;

use crate::old_files::Old;
use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// A `bets.csv` with the bets of both agencies, and nothing else.
fn bets_only() -> Setup {
    let setup = lottery(Stage::Open);
    for name in ["books", "draw"] {
        fs::remove_file(setup.path(name)).unwrap();
    }
    setup
}

/// The files of an older lottery in which the agencies of `ended` have ended.
pub fn older(ended: &[u32]) -> Setup {
    let setup = bets_only();
    Old::of_this_boot(&setup).ended(ended).write(&setup);
    setup
}

/// The files of an older lottery whose draw is held. The settings would now draw another number.
pub fn older_held() -> Setup {
    let setup = bets_only();
    let committed = fs::metadata(setup.path("bets.csv")).unwrap().len();
    let [one, two] = expected_winners();
    Old::of_this_boot(&setup).ended(&[2, 1]).drawn(2, WINNING, committed, &[(1, one), (2, two)]).write(&setup);
    setup.set("LOTTERY_WINNER_NUMBER", USUAL)
}

#[track_caller]
fn assert_converted(setup: &Setup, before: &std::collections::BTreeMap<String, Vec<u8>>) {
    let after = files(&setup.path(""));
    for name in ["bets.lock", "ends"] {
        assert!(!after.contains_key(name), "{name} is still there");
    }
    for name in ["bets.lock", "ends", "draw"].into_iter().filter(|&name| before[name] != b"") {
        assert!(dated(&after, name).iter().any(|copy| after[copy] == before[name]), "no copy of {name}");
    }
    assert!(after["bets.csv"] == before["bets.csv"], "the rows have changed");
}

#[test]
fn any_file_of_the_older_version_is_refused() {
    type Reduce = fn(&Setup);
    let ways: [(&str, Reduce); 5] = [
        ("all of them", |_| ()),
        ("only bets.lock", |setup| ["ends", "draw"].map(|name| setup.path(name)).iter().for_each(remove)),
        ("only ends", |setup| ["bets.lock", "draw"].map(|name| setup.path(name)).iter().for_each(remove)),
        ("only draw", |setup| ["bets.lock", "ends"].map(|name| setup.path(name)).iter().for_each(remove)),
        ("an empty draw", |setup| fs::write(setup.path("draw"), b"").unwrap()),
    ];
    for_each(ways.map(|(name, reduce)| (name.to_owned(), reduce)), |reduce| {
        let setup = older_held();
        reduce(&setup);
        let (line, _) = refused(setup, &[]);
        assert!(["bets.lock", "ends", "draw"].iter().any(|name| line.contains(name)), "no file is named: {line}");
    });
}

fn remove(path: &std::path::PathBuf) {
    fs::remove_file(path).unwrap();
}

#[test]
fn repair_converts_rows_and_ends() {
    for ended in [&[][..], &[1], &[2], &[1, 2]] {
        let setup = older(ended);
        let before = files(&setup.path(""));
        let setup = repaired(refused(setup, &[]).1);
        assert_converted(&setup, &before);
        let server = setup.start();
        for agency in [1, 2] {
            assert_eq!(server.tally(agency), full(agency, ended.contains(&agency)), "{ended:?}");
        }
        finish(&server);
        server.stop();
    }
}

#[test]
fn repair_takes_an_older_result_over() {
    let setup = older_held();
    let before = files(&setup.path(""));
    let setup = repaired(refused(setup, &[]).1);
    assert_converted(&setup, &before);
    let outcome = Draw::read(&setup.path("draw")).outcome().unwrap();
    assert_eq!((outcome.agencies, outcome.number), (2, WINNING));
    let server = setup.start();
    let drawn = [1, 2].map(|agency| server.connect().send(&ask(agency)).winners());
    assert_eq!(drawn, expected_winners().map(Some));
    assert!(!server.own_log().contains(SORTEO), "drawn again");
    assert_eq!(server.connect().send(&batch_of(1, 1, USUAL)).rest(), [2, 3]);
    server.stop();
}

#[test]
fn a_tail_of_the_older_version_is_not_converted() {
    for is_this_boot in [true, false] {
        let setup = bets_only();
        let bets = fs::read(setup.path("bets.csv")).unwrap();
        let old = Old::of_this_boot(&setup).ended(&[2]);
        let old = if is_this_boot { old } else { old.of_another_boot() };
        old.write(&setup);
        edit(&setup.path("bets.csv"), |bets| bets.extend(b"1,Ana,Paz,666,1999"));
        let setup = repaired(refused(setup, &[]).1);
        let server = setup.start();
        assert!(server.bets() == bets, "this boot: {is_this_boot}");
        assert_eq!((server.tally(1), server.tally(2)), (full(1, false), full(2, true)));
        finish(&server);
    }
}

#[test]
fn rows_that_the_older_version_lost_do_not_become_an_end() {
    let setup = older(&[1, 2]);
    edit(&setup.path("bets.csv"), |bets| bets.truncate(bets.len() - 1000));
    let before = files(&setup.path(""));
    let (code, log, setup) = run_repair(setup);
    if code == Some(0) {
        let server = setup.start();
        assert!(!server.tally(1).1, "it has ended without its last rows: {log}");
        finish(&server);
    } else {
        assert_eq!(code, Some(4), "{log}");
        assert_eq!(changed(&before, &files(&setup.path(""))), [""; 0], "{log}");
    }
}

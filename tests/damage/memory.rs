//! Damages of `books`.

use std::fs;

use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// The tallies of both agencies are those of `stage`.
#[track_caller]
fn assert_complete(server: &Server, stage: Stage) {
    assert_eq!(server.tally(1), full(1, stage == Stage::Ended));
    assert_eq!(server.tally(2), full(2, false));
}

#[test]
fn a_start_goes_on_without_books_of_this_boot() {
    type Spoil = fn(&Setup);
    let ways: [(&str, Spoil, usize); 3] = [
        ("removed", |setup| fs::remove_file(setup.path("books")).unwrap(), 1),
        ("of another boot", |setup| of_another_boot(&setup.path("books")), 0),
        ("of no boot", |setup| edit_books(&setup.path("books"), |books| books.set_boot("")), 0),
    ];
    for stage in [Stage::Open, Stage::Ended] {
        for_each(ways.map(|way| (format!("{}, {stage:?}", way.0), way)), |(_, spoil, warnings)| {
            let setup = lottery(stage);
            spoil(&setup);
            let server = setup.start();
            let log = server.own_log();
            assert_eq!(count_events(&log, "WARNING "), warnings, "{log}");
            assert_complete(&server, stage);
            finish(&server);
            server.stop();
        });
    }
}

#[test]
fn without_books_of_this_boot_a_tail_of_valid_rows_counts() {
    type Spoil = fn(&Setup);
    let ways: [(&str, Spoil, u64); 4] = [
        ("removed", |setup| fs::remove_file(setup.path("books")).unwrap(), 1001),
        ("of another boot", |setup| of_another_boot(&setup.path("books")), 1001),
        ("of this boot", |_| (), 1000),
        ("doubtful", |setup| edit_books(&setup.path("books"), |books| books.put_head(|h| h.flags |= DOUBTFUL)), 1000),
    ];
    for_each(ways.map(|way| (way.0.to_owned(), way)), |(_, spoil, count)| {
        let setup = lottery(Stage::Open);
        edit(&setup.path("bets.csv"), |bets| bets.extend(format!("{}1,Ana", row(1, 666, WINNING)).as_bytes()));
        spoil(&setup);
        let server = setup.start();
        assert_eq!(server.tally(1).0, count);
        assert!(fs::read(server.path("bets.csv.rejected")).unwrap().ends_with(b"1,Ana"));
        server.stop();
    });
}

#[test]
fn doubtful_books_are_an_upper_limit() {
    let doubtful = |stage| {
        let setup = lottery(stage);
        edit_books(&setup.path("books"), |books| books.put_head(|head| head.flags |= DOUBTFUL));
        setup
    };
    let server = doubtful(Stage::Ended).start();
    assert_complete(&server, Stage::Ended);
    finish(&server);

    // The disk has lost the last rows, and their client sends them again.
    let lose = |setup: &Setup| edit(&setup.path("bets.csv"), |bets| bets.truncate(bets.len() - 100));
    let setup = doubtful(Stage::Open);
    lose(&setup);
    let server = setup.start();
    assert!((990..1000).contains(&server.tally(1).0));
    finish(&server);

    let setup = doubtful(Stage::Ended);
    lose(&setup);
    refused(setup, &["bets.csv"]);
}

#[test]
fn damaged_books_are_refused_and_repaired() {
    type Spoil = fn(&mut Books);
    let ways: [(&str, Spoil); 10] = [
        ("the magic", |books| books.0[0] ^= 1),
        ("the boot id", |books| books.0[BOOT_ID.start] ^= 2),
        ("the pid", |books| books.0[46] ^= 4),
        ("the number of slots", |books| books.0[51] ^= 1),
        ("the checksum", |books| books.0[63] ^= 128),
        ("a header of zeros", |books| books.0[BOOKS_HEADER].fill(0)),
        ("empty", |books| books.0.clear()),
        ("torn", |books| books.0.truncate(32)),
        ("both halves of the head", |books| HEADS.into_iter().for_each(|half| books.0[half.start + 15] ^= 1)),
        ("a head of zeros", |books| HEADS.into_iter().for_each(|half| books.0[half].fill(0))),
    ];
    for stage in [Stage::Open, Stage::Ended] {
        for_each(ways.map(|way| (format!("{}, {stage:?}", way.0), way.1)), |spoil| {
            let setup = lottery(stage);
            edit_books(&setup.path("books"), spoil);
            let (_, setup) = refused(setup, &["books"]);
            let server = repaired(setup).start();
            assert_complete(&server, stage);
            finish(&server);
            server.stop();
        });
    }
}

#[test]
fn a_slot_without_valid_half_is_refused() {
    for stage in [Stage::Open, Stage::Ended] {
        let setup = lottery(stage);
        edit_books(&setup.path("books"), |books| {
            for half in Books::slot_halves(books.number_of(1)) {
                books.0[half.start + 24] ^= 1;
            }
        });
        let (_, setup) = refused(setup, &["books"]);
        let server = repaired(setup).start();
        assert_eq!(server.tally(2), full(2, false));
        let tally = server.tally(1);
        let proved = stage == Stage::Ended;
        assert!(tally == full(1, proved), "{stage:?}: {tally:?}");
        finish(&server);
    }
}

#[test]
fn a_contradiction_between_head_and_slots_is_refused() {
    type Spoil = fn(&mut Books);
    let ways: [(&str, Spoil); 4] = [
        ("a head that is too long", |books| books.put_head(|head| head.committed += 30)),
        ("a head that is too short", |books| books.put_head(|head| head.committed -= 30)),
        ("a slot two commits past the head", |books| books.put_slot(1, |slot| slot.seq += 2)),
        ("a slot that ends past the file", |books| books.put_slot(2, |slot| slot.end = 1 << 40)),
    ];
    for_each(ways.map(|(name, spoil)| (name.to_owned(), spoil)), |spoil| {
        let setup = lottery(Stage::Open);
        edit_books(&setup.path("books"), spoil);
        refused(setup, &[]);
    });
}

#[test]
fn the_newest_slot_replaces_a_head_that_was_not_written() {
    for stage in [Stage::Open, Stage::Ended] {
        // As a session leaves it that is killed between the two.
        let setup = lottery(stage);
        let bets = fs::read(setup.path("bets.csv")).unwrap();
        edit_books(&setup.path("books"), |books| {
            let (_, newest) = books.head();
            books.0[newest].fill(0);
            let (head, _) = books.head();
            assert!(head.committed < bets.len() as u64);
        });
        let server = setup.start();
        assert!(server.bets() == bets);
        assert_complete(&server, stage);
        finish(&server);
    }
}

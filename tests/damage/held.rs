//! Damages of a held draw. It is never drawn again with other terms.

use std::fs;

use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// The settings would now draw [`USUAL`]; the held draw has [`WINNING`].
fn with_other_number(setup: Setup) -> Setup {
    setup.set("LOTTERY_WINNER_NUMBER", USUAL)
}

fn held_of(boot: Boot) -> Setup {
    with_other_number(lottery_of(Stage::Held, boot))
}

fn both_boots() -> impl Iterator<Item = (String, Boot)> {
    [Boot::This, Boot::Another].into_iter().map(|boot| (format!("{boot:?}"), boot))
}

#[track_caller]
fn assert_old_winners(server: &Server) {
    let drawn = [1, 2].map(|agency| server.connect().send(&ask(agency)).winners());
    assert_eq!(drawn, expected_winners().map(Some));
    assert!(!server.own_log().contains(SORTEO), "drawn again");
}

/// `--repair` either changes nothing and ends with 4, or leads to the old winners.
#[track_caller]
fn never_drawn_again(setup: Setup) {
    let before = files(&setup.path(""));
    let (code, log, setup) = run_repair(setup);
    if code == Some(0) {
        assert_old_winners(&setup.start());
    } else {
        assert_eq!(code, Some(4), "{log}");
        assert_eq!(changed(&before, &files(&setup.path(""))), [""; 0], "{log}");
    }
}

/// Forgets that the draw is held, as a draw child leaves it that is killed before its last step.
fn forget_held(setup: &Setup) {
    edit_books(&setup.path("books"), |books| {
        for half in HEADS {
            if let Some(head) = Head::decode(&books.0[half.clone()]) {
                books.0[half].copy_from_slice(&Head { flags: head.flags & !DRAW_HELD, ..head }.encode());
            }
        }
    });
}

#[test]
fn a_flipped_bit_of_the_held_record_is_refused() {
    let template = held_of(Boot::This);
    let bits = [0, 31, 32, 63, 64, 127, 128, 191, 200, 223, 224, 255].map(|bit| HELD.start * 8 + bit);
    for_each(bits.map(|bit| (format!("bit {bit}"), bit)), |bit| {
        for boot in [Boot::This, Boot::Another] {
            let setup = with_other_number(copy_of(&template));
            if boot == Boot::Another {
                of_another_boot(&setup.path("books"));
            }
            flip(&setup.path("draw"), bit);
            let (_, setup) = refused(setup, &["draw"]);
            never_drawn_again(setup);
        }
    });
}

#[test]
fn a_flipped_bit_of_the_result_is_refused_and_repaired() {
    let template = held_of(Boot::This);
    let draw = Draw::read(&template.path("draw"));
    let result = draw.result_range();
    let (documents, last) = (result.start + 32 + 2 * 16, result.end - 1);
    let places = [(result.start + 32, 0), (result.start + 32 + 15, 7), (documents, 0), (documents + 21, 3), (last, 7)];
    for_each(places.map(|place| (format!("{place:?}"), place)), |(byte, bit)| {
        let setup = with_other_number(copy_of(&template));
        flip(&setup.path("draw"), byte * 8 + bit);
        let (_, setup) = refused(setup, &["draw"]);
        let setup = repaired(setup);
        assert_eq!(Draw::read(&setup.path("draw")).winners(), draw.winners());
        assert_old_winners(&setup.start());
    });
    // The terms of the draw are in the header: if they are damaged, the settings may differ from them.
    let header = (0..32).step_by(5).map(|byte| result.start + byte);
    for_each(header.map(|byte| (format!("header byte {byte}"), byte)), |byte| {
        let setup = with_other_number(copy_of(&template));
        flip(&setup.path("draw"), byte * 8 + 1);
        never_drawn_again(refused(setup, &["draw"]).1);
    });
}

#[test]
fn a_damaged_result_beside_damaged_rows_is_beyond_repair() {
    for_each(both_boots(), |boot| {
        let setup = held_of(boot);
        let result = Draw::read(&setup.path("draw")).result_range();
        flip(&setup.path("draw"), (result.end - 1) * 8);
        edit(&setup.path("bets.csv"), |bets| bets[8] ^= 1);
        let (_, setup) = refused(setup, &[]);
        let setup = beyond_repair(setup);
        refused(setup, &[]);
    });
}

#[test]
fn damaged_rows_beside_a_held_draw_are_beyond_repair() {
    for_each(both_boots(), |boot| {
        let setup = held_of(boot);
        edit(&setup.path("bets.csv"), |bets| bets.truncate(bets.len() / 2));
        let (_, setup) = refused(setup, &["bets.csv"]);
        beyond_repair(setup);

        let setup = held_of(boot);
        fs::remove_file(setup.path("bets.csv")).unwrap();
        let (_, setup) = refused(setup, &["bets.csv"]);
        beyond_repair(setup);
    });
}

#[test]
fn a_lost_held_record_is_refused() {
    type Spoil = fn(&Setup);
    let ways: [(&str, Spoil); 4] = [
        ("the record is zeros", |setup| zero(&setup.path("draw"), HELD)),
        ("record and result are zeros", |setup| {
            let result = Draw::read(&setup.path("draw")).result_range();
            zero(&setup.path("draw"), result);
            zero(&setup.path("draw"), HELD);
        }),
        ("draw is removed", |setup| fs::remove_file(setup.path("draw")).unwrap()),
        ("draw is older", |setup| fs::rename(setup.path(OLDER_DRAW), setup.path("draw")).unwrap()),
    ];
    for boot in [Boot::This, Boot::Another] {
        for_each(ways.map(|(name, spoil)| (format!("{name}, {boot:?}"), spoil)), |spoil| {
            let setup = held_of(boot);
            spoil(&setup);
            let (_, setup) = refused(setup, &["draw"]);
            never_drawn_again(setup);
        });
    }
}

#[test]
fn other_damages_beside_a_sound_result_are_repaired() {
    type Spoil = fn(&Setup);
    let ways: [(&str, Boot, Spoil); 8] = [
        ("a damaged unit", Boot::Another, |setup| damage(&setup.path("draw"), &[Draw::unit_range(0)])),
        ("a lost unit", Boot::Another, |setup| zero(&setup.path("draw"), Draw::unit_range(1))),
        ("the header of draw", Boot::This, |setup| damage(&setup.path("draw"), &[DRAW_HEADER])),
        ("the header of books", Boot::This, |setup| damage(&setup.path("books"), &[BOOKS_HEADER])),
        ("the head", Boot::This, |setup| damage(&setup.path("books"), &HEADS)),
        ("a slot", Boot::This, |setup| damage(&setup.path("books"), &Books::slot_halves(0))),
        ("a row after the draw", Boot::Another, |setup| append_row(setup, 1)),
        ("a long tail", Boot::This, |setup| append_row(setup, 10_000)),
    ];
    for_each(ways.map(|(name, boot, spoil)| (name.to_owned(), (boot, spoil))), |(boot, spoil)| {
        let setup = held_of(boot);
        let bets = fs::read(setup.path("bets.csv")).unwrap();
        spoil(&setup);
        let setup = repaired(refused(setup, &[]).1);
        assert!(fs::read(setup.path("bets.csv")).unwrap() == bets);
        let server = setup.start();
        assert_old_winners(&server);
        assert_eq!((server.tally(1), server.tally(2)), (full(1, true), full(2, true)));
        server.stop();
    });
}

fn append_row(setup: &Setup, times: usize) {
    edit(&setup.path("bets.csv"), |bets| bets.extend(row(2, 666, USUAL).repeat(times).as_bytes()));
}

#[test]
fn a_cut_result_is_refused_and_repaired() {
    for_each(both_boots(), |boot| {
        let setup = held_of(boot);
        let draw = Draw::read(&setup.path("draw"));
        edit(&setup.path("draw"), |bytes| bytes.truncate(draw.result_range().end - 1));
        let (_, setup) = refused(setup, &["draw"]);
        // The header of the result still has the terms.
        let setup = repaired(setup);
        assert_eq!(Draw::read(&setup.path("draw")).winners(), draw.winners());
        assert_old_winners(&setup.start());
    });
}

/// As a draw child leaves it that is killed while it writes the result, or before it writes the held record.
fn without_held_record(setup: &Setup) {
    let offset = Draw::read(&setup.path("draw")).held().unwrap().offset;
    edit(&setup.path("draw"), |draw| draw[HELD].copy_from_slice(&planned(offset)));
}

/// As a kill could leave it in the middle of the write.
fn with_torn_held_record(setup: &Setup) {
    zero(&setup.path("draw"), HELD.start + 20..HELD.end);
}

#[test]
fn a_result_without_held_record_is_drawn_again() {
    type Spoil = fn(&Setup);
    let ways: [(&str, Spoil, Boot); 3] = [
        ("not written", without_held_record, Boot::This),
        ("not written, another boot", without_held_record, Boot::Another),
        ("torn", with_torn_held_record, Boot::This),
    ];
    for_each(ways.map(|(name, spoil, boot)| (name.to_owned(), (spoil, boot))), |(spoil, boot)| {
        let setup = held_of(boot);
        forget_held(&setup);
        spoil(&setup);
        let server = setup.start();
        assert_eq!(server.connect().send(&ask(1)).winners().unwrap().len(), 990, "with the settings of now");
        let log = server.stop();
        assert_eq!(log.matches(SORTEO).count(), 2, "{log}");
    });
}

#[test]
fn a_torn_held_record_of_another_boot_is_refused() {
    let setup = held_of(Boot::Another);
    forget_held(&setup);
    with_torn_held_record(&setup);
    never_drawn_again(refused(setup, &["draw"]).1);
}

#[test]
fn lost_books_do_not_open_a_held_draw() {
    let setup = held_of(Boot::This);
    fs::remove_file(setup.path("books")).unwrap();
    let server = setup.start();
    assert_old_winners(&server);
    assert_eq!(server.connect().send(&batch_of(1, 1, USUAL)).rest(), [2, 3]);
    let (head, _) = Books::read(&server.path("books")).head();
    assert_eq!(head.flags & DRAW_HELD, DRAW_HELD, "new books know of the draw");
}

#[test]
fn a_repair_of_a_sound_held_draw_keeps_it() {
    for_each(both_boots(), |boot| {
        let setup = repaired(held_of(boot));
        assert_old_winners(&setup.start());
    });
}

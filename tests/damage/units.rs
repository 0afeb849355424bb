//! Damages of the ends in `draw`, before the draw is held.

use std::fs;

use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// What happens to the end of agency 1, whose rows are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The start goes on, and the agency has ended: its unit is in `draw`, perhaps written again.
    Ended,
    /// The start goes on, and the agency has not ended.
    Open,
    /// The start is refused. After `--repair`, the end is proved by another record.
    RefusedEnded,
    /// The start is refused. After `--repair`, the agency ends again.
    RefusedOpen,
    /// The start is refused. After `--repair`, the agency has ended or has not.
    Refused,
}

struct Damage {
    name: &'static str,
    spoil: fn(&Setup),
    this_boot: Then,
    another_boot: Then,
}

fn unit_of_one(setup: &Setup) -> std::ops::Range<usize> {
    Draw::unit_range(Books::read(&setup.path("books")).number_of(1))
}

fn flip_unit(setup: &Setup, bit: usize) {
    flip(&setup.path("draw"), unit_of_one(setup).start * 8 + bit);
}

fn cut_draw(setup: &Setup, len: usize) {
    edit(&setup.path("draw"), |draw| draw.truncate(len));
}

fn zero_unit(setup: &Setup) {
    zero(&setup.path("draw"), unit_of_one(setup));
}

fn restore_older_draw(setup: &Setup) {
    fs::copy(setup.path(OLDER_DRAW), setup.path("draw")).unwrap();
}

/// As a session leaves it that is killed after it has closed its slot.
fn close_without_unit(setup: &Setup) {
    edit_books(&setup.path("books"), |books| books.put_slot(1, |slot| slot.flags &= !DURABLE));
    let (slot, _) = Books::read(&setup.path("books")).slot(1);
    assert!(slot.is_closed() && !slot.is_durable());
    zero_unit(setup);
}

fn other_unit(setup: &Setup) {
    let range = unit_of_one(setup);
    edit(&setup.path("draw"), |draw| {
        let unit = Unit::decode(&draw[range.clone()]).unwrap();
        draw[range].copy_from_slice(&Unit { count: 999, ..unit }.encode());
    });
}

const DAMAGES: [Damage; 12] = [
    Damage { name: "bit 0", spoil: |s| flip_unit(s, 0), this_boot: Then::Ended, another_boot: Then::RefusedOpen },
    Damage { name: "bit 39", spoil: |s| flip_unit(s, 39), this_boot: Then::Ended, another_boot: Then::RefusedOpen },
    Damage { name: "bit 130", spoil: |s| flip_unit(s, 130), this_boot: Then::Ended, another_boot: Then::RefusedOpen },
    Damage { name: "bit 255", spoil: |s| flip_unit(s, 255), this_boot: Then::Ended, another_boot: Then::RefusedOpen },
    Damage { name: "zeros", spoil: zero_unit, this_boot: Then::Ended, another_boot: Then::RefusedOpen },
    Damage { name: "zeros, not synced", spoil: close_without_unit, this_boot: Then::Ended, another_boot: Then::Open },
    Damage { name: "older", spoil: restore_older_draw, this_boot: Then::Ended, another_boot: Then::RefusedOpen },
    Damage { name: "another unit", spoil: other_unit, this_boot: Then::Refused, another_boot: Then::Refused },
    Damage {
        name: "removed",
        spoil: |setup| fs::remove_file(setup.path("draw")).unwrap(),
        this_boot: Then::RefusedEnded,
        another_boot: Then::RefusedOpen,
    },
    Damage { name: "empty", spoil: |s| cut_draw(s, 0), this_boot: Then::RefusedEnded, another_boot: Then::RefusedOpen },
    Damage { name: "torn", spoil: |s| cut_draw(s, 16), this_boot: Then::RefusedEnded, another_boot: Then::RefusedOpen },
    Damage {
        name: "header",
        spoil: |setup| damage(&setup.path("draw"), &[DRAW_HEADER]),
        this_boot: Then::RefusedEnded,
        another_boot: Then::Refused,
    },
];

fn check(damage: &Damage, boot: Boot) {
    let setup = lottery_of(Stage::Ended, boot);
    (damage.spoil)(&setup);
    let then = if boot == Boot::This { damage.this_boot } else { damage.another_boot };
    let setup = match then {
        Then::Ended | Then::Open => setup,
        _ => repaired(refused(setup, &["draw"]).1),
    };
    let server = setup.start();
    let tally = server.tally(1);
    match then {
        Then::Ended | Then::RefusedEnded => assert_eq!(tally, full(1, true)),
        Then::Open | Then::RefusedOpen => assert_eq!(tally, full(1, false)),
        Then::Refused => assert!([full(1, true), full(1, false), (0, false, 0)].contains(&tally), "{tally:?}"),
    }
    if tally.1 {
        let [books, draw] = ["books", "draw"].map(|name| server.path(name));
        let unit = Draw::read(&draw).unit(Books::read(&books).number_of(1));
        let (count, _, crc) = full(1, true);
        assert_eq!(unit, Some(Unit { agency: 1, count, crc }));
    }
    assert_eq!(server.tally(2), full(2, false));
    finish(&server);
    server.stop();
}

fn cases() -> impl Iterator<Item = (String, &'static Damage)> {
    DAMAGES.iter().map(|damage| (damage.name.to_owned(), damage))
}

#[test]
fn books_of_this_boot_prove_an_end_without_its_unit() {
    for_each(cases(), |damage| check(damage, Boot::This));
}

#[test]
fn a_lost_end_is_refused_in_another_boot() {
    for_each(cases(), |damage| check(damage, Boot::Another));
}

#[test]
fn a_draw_cut_after_its_first_records_is_an_end_without_unit() {
    let cut = |boot| {
        let setup = lottery_of(Stage::Ended, boot);
        cut_draw(&setup, HELD.end);
        setup
    };
    assert_eq!(cut(Boot::This).start().tally(1), full(1, true));
    let (_, setup) = refused(cut(Boot::Another), &["draw"]);
    assert_eq!(repaired(setup).start().tally(1), full(1, false));
}

//! The bytes that a server writes, read as their description has them.

use std::fs;

use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

#[test]
fn books_and_draw_have_the_described_layout() {
    let server = Server::start(2);
    let books = || Books::read(&server.path("books"));
    let draw = || Draw::read(&server.path("draw"));
    let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(books().is_valid() && draw().is_valid());
    assert_eq!(books().boot(), this_boot.trim());
    assert_eq!((books().pid().cast_signed(), books().slots()), (server.pid(), 2));

    for batches in 1..=3 {
        assert_eq!(server.store(&batch_of(2, 5, WINNING)), 0);
        let (head, _) = books().head();
        assert_eq!((head.committed, head.flags), (server.bets().len() as u64, 0));
        let (slot, _) = books().slot(2);
        assert_eq!((slot.seq, slot.end, slot.flags), (head.seq, head.committed, TYPED));
        let (count, ended, crc) = server.tally(2);
        assert_eq!((slot.count, slot.is_closed(), slot.crc), (count, ended, crc));
        assert_eq!((books().number_of(2), count), (1, 5 * batches));
    }
    assert_eq!(server.store(&end(2)), 0);
    let (slot, _) = books().slot(2);
    assert_eq!(slot.flags, CLOSED | DURABLE | TYPED);
    assert_eq!(draw().unit(1), Some(Unit { agency: 2, count: slot.count, crc: slot.crc }));
    assert_eq!((draw().unit(0), draw().held()), (None, None));

    let drawn = winners(&server, 1);
    let outcome = draw().outcome().unwrap();
    assert_eq!((outcome.agencies, outcome.number, outcome.committed), (2, WINNING, server.bets().len() as u64));
    assert_eq!(outcome.winners, [(1, drawn), (2, (0..5).cycle().take(15).collect())]);
    assert_eq!(books().head().0.flags, DRAW_HELD);
    assert_eq!(draw().unit(0), Some(Unit { agency: 1, count: 0, crc: 0 }));
    assert_eq!(Outcome::decode(&outcome.encode()), Some(outcome));
    server.stop();
}

#[test]
fn an_end_without_syncs_has_a_unit_but_no_evidence() {
    let server = Setup::new(2).set("DURABILITY", "process").start();
    assert_eq!(server.store(&batch_of(1, 5, WINNING)), 0);
    assert_eq!(server.store(&end(1)), 0);
    let (slot, _) = Books::read(&server.path("books")).slot(1);
    assert!(slot.is_closed() && !slot.is_durable());
    let unit = Draw::read(&server.path("draw")).unit(0);
    assert_eq!(unit, Some(Unit { agency: 1, count: slot.count, crc: slot.crc }));
    server.stop();
}

#[test]
fn a_start_continues_with_files_that_the_test_has_written() {
    let setup = Setup::new(2).set("LOTTERY_WINNER_NUMBER", USUAL);
    let bets = rows(1, 3, WINNING);
    fs::write(setup.path("bets.csv"), &bets).unwrap();
    let (count, end, crc) = (3, bets.len() as u64, crc32fast::hash(bets.as_bytes()));
    let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let slots = [
        Slot { seq: 2, end, count, crc, agency: 1, flags: CLOSED | DURABLE },
        Slot { seq: 1, end: 0, count: 0, crc: 0, agency: 2, flags: CLOSED | DURABLE },
    ];
    let head = Head { seq: 2, committed: end, flags: DRAW_HELD };
    Books::make(this_boot.trim(), 1, head, &slots).write(&setup.path("books"));
    let units = [(1, count, crc), (2, 0, 0)].map(|(agency, count, crc)| Some(Unit { agency, count, crc }));
    let winners = vec![(1, vec![0, 1, 2]), (2, vec![])];
    let outcome = Outcome { agencies: 2, number: WINNING, committed: end, winners };
    Draw::make(&units, Some(&outcome)).write(&setup.path("draw"));
    let server = setup.start();
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1, 2]));
    assert_eq!(server.connect().send(&ask(2)).winners(), Some(vec![]));
    assert_eq!(server.tally(1), (3, true, crc));
    server.stop();
}

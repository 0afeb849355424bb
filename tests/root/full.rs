//! Disks without room. Tests that depend on one block use only a tmpfs: a full ext4 may keep a block in reserve and
//! give it back later.

use std::fs::{self, File};
use std::time::Duration;

use crate::own;
use crate::scene::*;
use crate::support::disk::Medium;
use crate::support::*;

/// Bets of a batch that does not fit into a half-used block.
const LARGE: u32 = 255;

#[test]
fn batches_on_a_full_tmpfs_get_code_4_until_there_is_room() {
    batches_without_room(Medium::Tmpfs);
}

#[test]
fn batches_on_a_full_ext4_get_code_4_until_there_is_room() {
    batches_without_room(Medium::SmallExt4);
}

fn batches_without_room(medium: Medium) {
    let Some(disk) = own::disk(medium) else { return };
    let server = on(&disk).start();
    let (mut one, mut two) = (server.claim(1), server.claim(2));
    assert_eq!(one.send(&batch_of(1, 2, 1)).ack(), 0);
    assert_eq!(two.send(&batch_of(2, 4, WINNING)).ack(), 0);
    let before = fs::read(disk.bets()).unwrap();
    disk.fill();
    for round in 0..5 {
        assert_eq!(one.send(&batch_of(1, LARGE, WINNING)).rest(), [2, 4], "round {round}");
        assert_eq!(fs::read(disk.bets()).unwrap(), before, "round {round}: rows that found room are taken back");
        drop(one);
        one = server.claim(1);
        assert_eq!(server.connect().send(&untyped_batch(3, &many(3))).rest(), [4]);
        assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
        assert_eq!(two.send(&count(2)).tally(2).0, 4, "a connection that was there is served");
    }
    disk.make_room();
    assert_eq!(one.send(&batch_of(1, LARGE, WINNING)).ack(), 0, "the same connection goes on");
    drop((one, two));
    let log =
        assert_goes_on(server, &disk, [rows(1, 2, 1) + &rows(1, LARGE, WINNING), rows(2, 4, WINNING), String::new()]);
    assert_eq!(log.matches("| codigo: 4 | error: write ").count(), 10, "{log}");
    assert!(log.contains("No space left on device"), "{log}");
}

fn many(number: u32) -> Vec<Bet<'static>> {
    (0..LARGE).map(|document| Bet { document, number, ..Bet::default() }).collect()
}

#[test]
fn an_end_on_a_full_disk_gets_code_4_and_can_be_sent_again() {
    let Some(disk) = own::disk(Medium::Tmpfs) else { return };
    // The first block of `draw` has room for the ends of 126 agencies.
    let (first, far) = (1, 150);
    let server = on(&disk).set("CLIENT_AMOUNT", far).start();
    let (mut near, mut one) = (server.claim(first), server.claim(far));
    assert_eq!(one.send(&batch_of(far, 2, WINNING)).ack(), 0);
    disk.fill();
    assert_eq!(near.send(&end(first)).ack(), 0);
    for _ in 0..3 {
        assert_eq!(one.send(&end(far)).rest(), [2, 4]);
        drop(one);
        one = server.connect();
    }
    assert_eq!(fs::metadata(disk.store().join("draw")).unwrap().len(), 64 + 32);
    assert_eq!(one.send(&count(far)).rest(), [2, 4], "an end that is not recorded is not reported");
    disk.make_room();
    drop(one);
    assert_eq!(server.tally(far), (2, true, crc32fast::hash(rows(far, 2, WINNING).as_bytes())));
    assert_eq!(server.store(&end(far)), 0);
    // The records of the ends prove them, also in another boot.
    let setup = server.kill();
    fs::remove_file(disk.store().join("books")).unwrap();
    let again = setup.start();
    assert!(again.log().contains("| apuestas: 2 | agencias_terminadas: 2 | sorteo: not held"), "{}", again.log());
    again.stop();
}

#[test]
fn a_draw_on_a_full_disk_is_held_once_there_is_room() {
    let Some(disk) = own::disk(Medium::Tmpfs) else { return };
    let server = on(&disk).start();
    let mut agencies = [1, 2, 3].map(|agency| server.claim(agency));
    for (agency, conn) in (1..).zip(&mut agencies) {
        assert_eq!(conn.send(&batch_of(agency, agency, WINNING)).ack(), 0);
    }
    // The block of the first end has room for the others.
    assert_eq!(agencies[0].send(&end(1)).ack(), 0);
    disk.fill();
    for (agency, conn) in (2..).zip(&mut agencies[1..]) {
        assert_eq!(conn.send(&end(agency)).ack(), 0);
    }
    for (agency, conn) in (1..).zip(&mut agencies) {
        conn.send(&ask(agency));
    }
    eventually("several attempts", || server.log().matches("action: sorteo | result: in_progress").count() >= 6);
    assert!(server.log().contains("No space left on device") && !server.log().contains(SORTEO));
    assert!(agencies[2].is_silent_for(Duration::from_millis(50)));
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    disk.make_room();
    for (agency, conn) in (1..).zip(&mut agencies) {
        assert_eq!(conn.winners(), Some((0..agency).collect()));
    }
    drop(agencies);
    server.await_childless();
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_slot_without_room_refuses_the_batch_with_code_4() {
    let Some(disk) = own::disk(Medium::Tmpfs) else { return };
    let server = on(&disk).set("CLIENT_AMOUNT", 0).start();
    // The slots of these agencies fill a block of `books`. Their rows leave room in the first block of `bets.csv`.
    let agencies = 1..=32;
    for agency in agencies.clone() {
        assert_eq!(server.store(&batch_of(agency, 1, 1)), 0);
    }
    let before = fs::read(disk.bets()).unwrap();
    disk.fill();
    let late = 33;
    for _ in 0..3 {
        assert_eq!(server.connect().send(&batch_of(late, 1, WINNING)).rest(), [2, 4]);
        assert_eq!(fs::read(disk.bets()).unwrap(), before, "the rows are cut off");
        assert_eq!(server.tally(late), (0, false, 0));
        assert_eq!(server.tally(32).0, 1);
    }
    assert_eq!(server.store(&batch_of(1, 1, WINNING)), 0, "an agency that has a slot is served");
    disk.make_room();
    assert_eq!(server.store(&batch_of(late, 1, WINNING)), 0);
    assert_eq!(agencies.chain([late]).map(|agency| server.tally(agency).0).sum::<u64>(), 34);
    let log = server.stop();
    assert!(log.contains("/books: No space left on device"), "{log}");
}

#[test]
fn a_start_on_a_full_disk_is_exit_code_4_and_one_line() {
    let Some(disk) = own::disk(Medium::Tmpfs) else { return };
    fs::write(disk.bets(), rows(1, 9, 1) + "no bet").unwrap();
    File::open(disk.bets()).unwrap().sync_all().unwrap();
    let before = fs::read(disk.bets()).unwrap();
    disk.fill();
    let mut refused = on(&disk).spawn();
    assert_eq!(refused.wait().code(), Some(4));
    let log = refused.log();
    assert_eq!(count_events(&log, "CRITICAL action: exit | result: fail | error: "), 1, "{log}");
    assert!(log.contains("No space left on device") && !log.contains("action: listen"), "{log}");
    assert_eq!(fs::read(disk.bets()).unwrap(), before);
    drop(refused);
    disk.make_room();
    let server = on(&disk).start();
    assert_goes_on(server, &disk, [rows(1, 9, 1), String::new(), String::new()]);
}

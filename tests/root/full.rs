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
    let server = on(&disk).start();
    let mut one = server.claim(1);
    assert_eq!(one.send(&batch_of(1, 2, WINNING)).ack(), 0);
    disk.fill();
    for _ in 0..3 {
        assert_eq!(one.send(&end(1)).rest(), [2, 4]);
        drop(one);
        one = server.claim(1);
    }
    assert_eq!(fs::metadata(disk.store().join("ends")).unwrap().len(), 0);
    disk.make_room();
    drop(one);
    assert!(!server.tally(1).1);
    assert_goes_on(server, &disk, [rows(1, 2, WINNING), String::new(), String::new()]);
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
fn a_record_without_room_refuses_the_batch_with_code_4() {
    let Some(disk) = own::disk(Medium::Tmpfs) else { return };
    let server = on(&disk).start();
    let mut one = server.claim(1);
    assert_eq!(one.send(&batch_of(1, 2, 1)).ack(), 0);
    // Another process empties the record, and its room is taken.
    File::options().write(true).open(disk.store().join("bets.lock")).unwrap().set_len(0).unwrap();
    disk.fill();
    assert_eq!(one.send(&batch_of(1, 1, WINNING)).rest(), [2, 4]);
    drop(one);
    assert_eq!(server.connect().send(&count(2)).rest(), [2, 4]);
    assert_eq!(rows_on(&disk, 1), rows(1, 2, 1));
    disk.make_room();
    assert_goes_on(server, &disk, [rows(1, 2, 1), String::new(), String::new()]);
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

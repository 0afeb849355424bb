//! Disks that accept writes and then cannot keep them: fdatasync(2) fails with the kernel's own EIO.

use std::fs;
use std::io::{Read, Write};

use crate::own;
use crate::scene::*;
use crate::support::disk::{Disk, Medium};
use crate::support::*;

/// So many batches that they need more room than the image has already.
const BATCHES: u32 = 40;

#[test]
fn a_failed_batch_is_not_acknowledged_and_a_remount_recovers() {
    a_failing_disk("batch", reboot);
}

#[test]
fn a_failed_end_is_not_acknowledged_and_a_restart_recovers() {
    // Trap: data that could not be written is still in the kernel's cache and looks as if it were on the disk.
    a_failing_disk("end", |_| {});
}

#[test]
fn a_failed_end_is_not_acknowledged_and_a_remount_recovers() {
    a_failing_disk("end", reboot);
}

/// A remount that loses what was not written. Within one boot, a start would see that `books` have lost it.
fn reboot(disk: &Disk) {
    disk.mount_again().unwrap();
    disk.another_boot().unwrap();
}

fn a_failing_disk(durability: &str, restore: impl Fn(&Disk)) {
    let Some(disk) = own::disk(Medium::SmallExt4) else { return };
    let mut server = on(&disk).set("DURABILITY", durability).start();
    let (mut one, mut two) = (server.claim(1), server.claim(2));
    assert_eq!([one.send(&batch_of(1, 2, 1)).ack(), two.send(&batch_of(2, 4, WINNING)).ack()], [0, 0]);
    // Under `end`, agency 2's bets are kept by its end.
    assert_eq!(two.send(&end(2)).ack(), 0);
    let children = server.children();
    disk.fill_below();
    let batch = batch_of(1, 255, WINNING);
    let acknowledged = (0..BATCHES).take_while(|_| is_acknowledged(&mut one, &batch)).count();
    if durability == "batch" {
        assert!(acknowledged < BATCHES as usize, "the disk fails at nothing");
    } else {
        assert_eq!(acknowledged, BATCHES as usize, "batches are not synced: {}", server.log());
        assert!(!is_acknowledged(&mut one, &end(1)));
    }
    assert_eq!((one.rest_or_reset(), two.rest_or_reset()), (vec![], vec![]));
    assert_ended_broken(&mut server, &children);
    drop(server);

    disk.make_room_below();
    restore(&disk);
    let again = on(&disk).set("DURABILITY", durability).start();
    let kept = rows_on(&disk, 1);
    let sent = |batches| rows(1, 2, 1) + &rows(1, 255, WINNING).repeat(batches);
    assert!(sent(BATCHES as usize).starts_with(&kept), "{} bytes", kept.len());
    assert!(durability == "end" || kept.starts_with(&sent(acknowledged)), "an acknowledged batch is lost");
    assert_eq!(again.tally(2), (4, true, crc32fast::hash(rows(2, 4, WINNING).as_bytes())));
    assert!(!again.tally(1).1, "its end was not acknowledged");
    assert_goes_on(again, &disk, [kept, rows(2, 4, WINNING), String::new()]);
    // All of it is on the disk, not only in memory.
    let before = fs::read(disk.bets()).unwrap();
    disk.mount_again().unwrap();
    assert!(fs::read(disk.bets()).unwrap() == before, "what was acknowledged is not on the disk");
}

/// Whether `message` is acknowledged; otherwise the connection must be closed without an answer.
fn is_acknowledged(conn: &mut Conn, message: &[u8]) -> bool {
    let mut answer = [0; 2];
    let answered = conn.0.write_all(message).is_ok() && conn.0.read_exact(&mut answer).is_ok();
    assert!(!answered || answer == [2, 0], "{answer:?}");
    answered
}

#[track_caller]
fn assert_ended_broken(server: &mut Server, children: &[i32]) {
    assert_eq!(server.wait().code(), Some(4));
    assert!(children.iter().all(|&pid| !is_alive(pid)));
    let log = server.log();
    assert!(log.contains("CRITICAL action: sync | result: fail | error: sync "), "{log}");
    assert!(log.lines().last().unwrap().contains("CRITICAL action: exit | result: fail | error: "), "{log}");
}

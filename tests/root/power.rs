//! Power cuts: data that had not reached the disk is gone, and the next boot has another id. Each `DURABILITY` keeps
//! what it promises.

use crate::own;
use crate::scene::*;
use crate::support::disk::{Disk, Medium};
use crate::support::*;

/// Cuts the power and starts another boot; false if this machine cannot do that, which has been reported. Answers that
/// were sent before the cut can still be read.
fn power_cut(server: Server, disk: &Disk) -> bool {
    // Stop all processes first, as without power: a sync during the cut may still return success.
    freeze(server.pid());
    if !own::is_possible(disk.cut_power()) {
        return false;
    }
    drop(server.kill());
    disk.mount_again().unwrap();
    disk.another_boot().unwrap();
    true
}

/// Stores two batches of each agency, in turns, and returns the connections and the acknowledged rows of each agency.
fn bet(server: &Server) -> ([Conn; 3], [String; 3]) {
    let mut agencies = [1, 2, 3].map(|agency| server.claim(agency));
    for n in [200, 7] {
        for (agency, conn) in (1..).zip(&mut agencies) {
            assert_eq!(conn.send(&batch_of(agency, n, WINNING)).ack(), 0);
        }
    }
    (agencies, [1, 2, 3].map(|agency| rows(agency, 200, WINNING) + &rows(agency, 7, WINNING)))
}

fn disk() -> Option<Disk> {
    own::disk(Medium::SmallExt4)
}

#[test]
fn durability_batch_keeps_every_acknowledged_batch() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).set("DURABILITY", "batch").start();
    let (mut agencies, acknowledged) = bet(&server);
    // This batch is incomplete and stays unacknowledged.
    agencies[0].send(&batch_of(1, 9, 1)[..50]);
    if !power_cut(server, &disk) {
        return;
    }
    let again = on(&disk).set("DURABILITY", "batch").start();
    assert_eq!([1, 2, 3].map(|agency| rows_on(&disk, agency)), acknowledged);
    assert_goes_on(again, &disk, acknowledged);
}

#[test]
fn durability_end_keeps_every_agency_that_has_ended() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).start();
    let (mut agencies, acknowledged) = bet(&server);
    assert_eq!(agencies[0].send(&end(1)).ack(), 0);
    let not_synced = rows(2, 255, 1);
    assert_eq!(agencies[1].send(&batch_of(2, 255, 1)).ack(), 0);
    assert_eq!(agencies[2].send(&end(3)).ack(), 0);
    let later = rows(2, 9, 1);
    assert_eq!(agencies[1].send(&batch_of(2, 9, 1)).ack(), 0);
    if !power_cut(server, &disk) {
        return;
    }
    let again = on(&disk).start();
    let kept = [1, 2, 3].map(|agency| rows_on(&disk, agency));
    assert_eq!([&kept[0], &kept[2]], [&acknowledged[0], &acknowledged[2]]);
    assert!(again.tally(1).1 && again.tally(3).1 && !again.tally(2).1, "ends that were acknowledged");
    let sent = acknowledged[1].clone() + &not_synced + &later;
    assert!(sent.starts_with(&kept[1]), "{}", kept[1]);
    assert_goes_on(again, &disk, kept);
}

#[test]
fn durability_process_starts_cleanly_after_a_power_cut() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).set("DURABILITY", "process").start();
    let (mut agencies, acknowledged) = bet(&server);
    assert_eq!(agencies[0].send(&end(1)).ack(), 0);
    if !power_cut(server, &disk) {
        return;
    }
    let again = on(&disk).set("DURABILITY", "process").start();
    let kept = [1, 2, 3].map(|agency| rows_on(&disk, agency));
    assert!(kept.iter().zip(&acknowledged).all(|(kept, sent)| sent.starts_with(kept)));
    assert_ne!(kept, acknowledged, "the power cut takes nothing: these tests would prove nothing");
    assert_goes_on(again, &disk, kept);
}

#[test]
fn an_announced_draw_survives_at_every_durability() {
    for durability in ["process", "end", "batch"] {
        let Some(disk) = disk() else { return };
        let server = on(&disk).set("DURABILITY", durability).start();
        let (mut agencies, _) = bet(&server);
        for (agency, conn) in (1..).zip(&mut agencies) {
            assert_eq!(conn.send(&end(agency)).ack(), 0);
        }
        let won: Vec<u32> = (0..200).chain(0..7).collect();
        assert_eq!(agencies[1].send(&ask(2)).winners().as_ref(), Some(&won));
        drop(agencies);
        if !power_cut(server, &disk) {
            return;
        }
        let again = on(&disk).set("DURABILITY", durability).start();
        assert!(again.log().contains("| sorteo: held | "), "{durability}: {}", again.log());
        for agency in 1..=3 {
            assert_eq!(again.connect().send(&ask(agency)).winners().as_ref(), Some(&won), "{durability}");
        }
        assert!(!again.stop().contains(SORTEO), "{durability}: it is logged once for all");
    }
}

#[test]
fn a_power_cut_amid_batches_keeps_all_acknowledged_ones() {
    const BATCHES: usize = 20;
    for cut_after in [1, 2, 5] {
        let Some(disk) = disk() else { return };
        let server = on(&disk).set("DURABILITY", "batch").start();
        let mut one = server.claim(1);
        one.send(&batch_of(1, 99, 1).repeat(BATCHES));
        (0..cut_after).for_each(|_| assert_eq!(one.ack(), 0));
        if !power_cut(server, &disk) {
            return;
        }
        let acknowledged = cut_after + one.rest_or_reset().chunks(2).filter(|answer| answer == &[2, 0]).count();
        let again = on(&disk).set("DURABILITY", "batch").start();
        let kept = rows_on(&disk, 1);
        let sent = |batches| rows(1, 99, 1).repeat(batches);
        let counts = format!("{acknowledged} batches were acknowledged, {} rows are there", kept.lines().count());
        assert!(kept.starts_with(&sent(acknowledged)), "{counts}");
        // The batches that have arrived are one group, so more of them may be stored than the client knows.
        assert!(sent(BATCHES).starts_with(&kept), "{counts}");
        assert_goes_on(again, &disk, [kept, String::new(), String::new()]);
    }
}

#[test]
fn a_server_goes_on_from_a_copy_of_a_disk_in_use() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).set("DURABILITY", "batch").start();
    let (agencies, acknowledged) = bet(&server);
    let copy = disk.copy().unwrap();
    copy.another_boot().unwrap();
    let elsewhere = on(&copy).set("DURABILITY", "batch").start();
    assert_eq!([1, 2, 3].map(|agency| rows_on(&copy, agency)), acknowledged);
    assert_goes_on(elsewhere, &copy, acknowledged.clone());
    // The server on the original disk is not affected.
    drop(agencies);
    assert_goes_on(server, &disk, acknowledged);
}

//! Files and directories that not even root may change: immutable, or append-only.

use std::fs;
use std::path::PathBuf;

use crate::own::{self, can, run};
use crate::scene::*;
use crate::support::disk::{Disk, Medium};
use crate::support::*;

/// An attribute of a file, removed when dropped.
struct Locked(PathBuf, &'static str);

impl Locked {
    /// `None` if this machine cannot do that, which has been reported.
    fn new(file: PathBuf, attribute: &'static str) -> Option<Self> {
        can("chattr", &[&format!("+{attribute}"), path(&file)]).then_some(Self(file, attribute))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        run("chattr", &[&format!("-{}", self.1), path(&self.0)]);
    }
}

fn disk() -> Option<Disk> {
    own::disk(Medium::SmallExt4)
}

/// Stores three rows of agency 1 with a server that is then killed.
fn used(disk: &Disk) {
    let server = on(disk).start();
    assert_eq!(server.connect().send(&batch_of(1, 3, 1)).ack(), 0);
    drop(server.kill());
}

#[test]
fn a_start_on_immutable_files_is_exit_code_4_and_names_the_file() {
    let Some(disk) = disk() else { return };
    used(&disk);
    let before = fs::read(disk.bets()).unwrap();
    for (file, attribute) in ["bets.csv", "books", "draw"].map(|file| ["i", "a"].map(|how| (file, how))).concat() {
        let Some(locked) = Locked::new(disk.store().join(file), attribute) else { return };
        let mut refused = on(&disk).spawn();
        assert_eq!(refused.wait().code(), Some(4), "{file} +{attribute}: {}", refused.log());
        assert_one_complaint(&refused.log(), path(&locked.0));
        assert_eq!(fs::read(disk.bets()).unwrap(), before);
    }
    assert_goes_on(on(&disk).start(), &disk, [rows(1, 3, 1), String::new(), String::new()]);
}

#[test]
fn a_start_in_a_locked_directory_is_exit_code_4() {
    let Some(disk) = disk() else { return };
    {
        let Some(_locked) = Locked::new(disk.store(), "i") else { return };
        let mut refused = on(&disk).spawn();
        assert_eq!(refused.wait().code(), Some(4));
        assert_one_complaint(&refused.log(), path(&disk.store()));
    }
    used(&disk);
    let files = ["bets.csv", "draw"].map(|file| disk.store().join(file));
    let before = files.each_ref().map(|file| fs::read(file).unwrap());
    for attribute in ["i", "a"] {
        let Some(_locked) = Locked::new(disk.store(), attribute) else { return };
        // Even if all files are there, a start replaces `books`.
        for (setup, name) in [(on(&disk), "books"), (on(&disk).arg("--new-draw"), "bets.csv")] {
            let mut refused = setup.spawn();
            assert_eq!(refused.wait().code(), Some(4), "{attribute}");
            assert_one_complaint(&refused.log(), path(&disk.store().join(name)));
            assert_eq!(files.each_ref().map(|file| fs::read(file).unwrap()), before);
        }
    }
    assert_goes_on(on(&disk).start(), &disk, [rows(1, 3, 1), String::new(), String::new()]);
}

#[test]
fn a_running_server_works_in_an_immutable_directory() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).start();
    assert_eq!(server.connect().send(&batch_of(1, 3, 1)).ack(), 0);
    let Some(_locked) = Locked::new(disk.store(), "i") else { return };
    assert_goes_on(server, &disk, [rows(1, 3, 1), String::new(), String::new()]);
}

#[test]
fn files_made_immutable_at_run_time_get_code_4() {
    for file in ["bets.csv", "books", "draw"] {
        let Some(disk) = disk() else { return };
        let server = on(&disk).start();
        let (mut one, mut two) = (server.claim(1), server.claim(2));
        assert_eq!(one.send(&batch_of(1, 3, 1)).ack(), 0);
        {
            let Some(_locked) = Locked::new(disk.store().join(file), "i") else { return };
            let message = if file == "draw" { end(1) } else { batch_of(1, 3, WINNING) };
            assert_eq!(one.send(&message).rest(), [2, 4], "{file}: a connection that was there");
            assert_eq!(server.connect().send(&batch_of(3, 3, WINNING)).rest(), [2, 4], "{file}: a new one");
            assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
        }
        assert_eq!(two.send(&batch_of(2, 4, 1)).ack(), 0, "{file}: one that has waited");
        drop((one, two));
        assert_goes_on(server, &disk, [rows(1, 3, 1), rows(2, 4, 1), String::new()]);
    }
}

#[test]
fn a_draw_waits_until_its_files_are_no_longer_immutable() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).start();
    let mut agencies = [1, 2, 3].map(|agency| server.claim(agency));
    assert_eq!(agencies[0].send(&batch_of(1, 3, WINNING)).ack(), 0);
    {
        // The agencies have opened it already, and only sync it. The process of the draw must open it.
        let Some(_locked) = Locked::new(disk.bets(), "i") else { return };
        for (agency, conn) in (1..).zip(&mut agencies) {
            assert_eq!(conn.send(&end(agency)).send(&ask(agency)).ack(), 0);
        }
        eventually("several attempts", || server.log().matches("action: sorteo | result: in_progress").count() >= 6);
        assert!(!server.log().contains(SORTEO));
    }
    assert_eq!(agencies.each_mut().map(|conn| conn.winners().unwrap()), [vec![0, 1, 2], vec![], vec![]]);
    drop(agencies);
    server.await_childless();
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

//! Files and directories that not even root may change: immutable, or append-only.

use std::fs;
use std::path::PathBuf;

use crate::disk::{Disk, Kind, path};
use crate::own::{self, can, run};
use crate::scene::*;
use crate::support::*;

/// An attribute of a file, taken off when dropped.
struct Locked(PathBuf, &'static str);

impl Locked {
    /// `None` if this machine cannot do that, which has been said.
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
    own::mounts().then(|| Disk::new(Kind::Ext4)).flatten()
}

/// Three rows of agency 1, stored by a server that has been killed.
fn used(disk: &Disk) {
    let server = on(disk).start();
    assert_eq!(server.connect().send(&batch_of(1, 3, 1)).ack(), 0);
    drop(server.kill());
}

#[test]
fn a_start_on_files_that_may_not_be_changed_is_exit_code_4_and_one_line_that_names_the_file() {
    let Some(disk) = disk() else { return };
    used(&disk);
    let before = fs::read(disk.bets()).unwrap();
    for (file, attribute) in
        ["bets.csv", "bets.lock", "ends", "draw", "server.lock"].map(|file| ["i", "a"].map(|how| (file, how))).concat()
    {
        let Some(locked) = Locked::new(disk.store().join(file), attribute) else { return };
        let mut refused = on(&disk).spawn();
        assert_eq!(refused.wait().code(), Some(4), "{file} +{attribute}: {}", refused.log());
        assert_one_complaint(&refused.log(), path(&locked.0));
        assert_eq!(fs::read(disk.bets()).unwrap(), before);
    }
    assert_goes_on(on(&disk).start(), &disk, [rows(1, 3, 1), String::new(), String::new()]);
}

#[test]
fn a_start_in_a_directory_that_may_not_be_changed_is_exit_code_4_where_it_would_have_to_be() {
    let Some(disk) = disk() else { return };
    {
        let Some(_locked) = Locked::new(disk.store(), "i") else { return };
        let mut refused = on(&disk).spawn();
        assert_eq!(refused.wait().code(), Some(4));
        assert_one_complaint(&refused.log(), path(&disk.store()));
    }
    used(&disk);
    for attribute in ["i", "a"] {
        let Some(_locked) = Locked::new(disk.store(), attribute) else { return };
        let mut refused = on(&disk).arg("--new-draw").spawn();
        assert_eq!(refused.wait().code(), Some(4), "{attribute}");
        assert_one_complaint(&refused.log(), "bets.csv");
    }
    // All files are there: nothing of the directory has to change.
    let _locked = Locked::new(disk.store(), "i").unwrap();
    assert_goes_on(on(&disk).start(), &disk, [rows(1, 3, 1), String::new(), String::new()]);
}

#[test]
fn a_directory_that_becomes_immutable_while_the_server_runs_keeps_nobody_from_betting_ending_and_drawing() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).start();
    assert_eq!(server.connect().send(&batch_of(1, 3, 1)).ack(), 0);
    let Some(_locked) = Locked::new(disk.store(), "i") else { return };
    assert_goes_on(server, &disk, [rows(1, 3, 1), String::new(), String::new()]);
}

#[test]
fn files_that_become_immutable_while_the_server_runs_refuse_with_code_4_until_they_are_not() {
    for file in ["bets.csv", "bets.lock", "ends"] {
        let Some(disk) = disk() else { return };
        let server = on(&disk).start();
        let (mut one, mut two) = (claimed(&server, 1), claimed(&server, 2));
        assert_eq!(one.send(&batch_of(1, 3, 1)).ack(), 0);
        {
            let Some(_locked) = Locked::new(disk.store().join(file), "i") else { return };
            let message = if file == "ends" { end(1) } else { batch_of(1, 3, WINNING) };
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
fn a_draw_whose_file_is_immutable_is_held_once_it_is_not() {
    let Some(disk) = disk() else { return };
    let server = on(&disk).start();
    let mut agencies = [1, 2, 3].map(|agency| claimed(&server, agency));
    assert_eq!(agencies[0].send(&batch_of(1, 3, WINNING)).ack(), 0);
    {
        let Some(_locked) = Locked::new(disk.store().join("draw"), "i") else { return };
        for (agency, conn) in (1..).zip(&mut agencies) {
            assert_eq!(conn.send(&end(agency)).send(&ask(agency)).ack(), 0);
        }
        eventually("several attempts", || server.log().matches("action: sorteo | result: in_progress").count() >= 6);
        assert!(!server.log().contains(SORTEO));
    }
    assert_eq!(agencies.each_mut().map(|conn| conn.winners().unwrap()), [vec![0, 1, 2], vec![], vec![]]);
    drop(agencies);
    server.await_alone();
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

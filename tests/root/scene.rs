//! A server on a disk, and the checks after every fault.

use std::fs;

use crate::support::disk::Disk;
use crate::support::*;

/// A server for three agencies with its files on `disk`.
pub fn on(disk: &Disk) -> Setup {
    Setup::new(3).set("STORAGE_FILEPATH", path(&disk.bets())).set("SHUTDOWN_GRACE", FOREVER)
}

/// The rows of `agency` on `disk`. Every row of `bets.csv` must be whole.
#[track_caller]
pub fn rows_on(disk: &Disk, agency: u32) -> String {
    let text = String::from_utf8(fs::read(disk.bets()).unwrap()).unwrap();
    assert!(text.is_empty() || text.ends_with("\r\n"), "a row is torn: {text:?}");
    let is_whole = |row: &str| row.split(',').count() == 6 && !row.contains('\0');
    assert!(text.split_inclusive("\r\n").all(is_whole), "{text:?}");
    rows_of(text.as_bytes(), agency)
}

/// Checks that exactly the `expected` rows of each of three agencies are stored, that every agency is served, that the
/// draw includes all rows, that no child is left, and that the server stops in order. Returns its log.
#[track_caller]
pub fn assert_goes_on(server: Server, disk: &Disk, mut expected: [String; 3]) -> String {
    for (agency, expected) in (1..).zip(&mut expected) {
        let ended = server.tally(agency).1;
        assert_eq!(server.tally(agency), (lines(expected), ended, crc32fast::hash(expected.as_bytes())));
        let mut conn = server.claim(agency);
        if !ended {
            assert_eq!(conn.send(&batch_of(agency, 3, WINNING)).ack(), 0);
            *expected += &rows(agency, 3, WINNING);
        }
        assert_eq!(conn.send(&end(agency)).ack(), 0);
    }
    for (agency, expected) in (1..).zip(&expected) {
        assert_eq!(&rows_on(disk, agency), expected);
        assert_eq!(server.connect().send(&ask(agency)).winners(), Some(winners_in(expected)));
    }
    server.await_childless();
    server.stop()
}

fn lines(rows: &str) -> u64 {
    rows.matches("\r\n").count() as u64
}

fn winners_in(rows: &str) -> Vec<u32> {
    let won = rows.lines().map(|row| row.split(',').collect::<Vec<_>>()).filter(|row| row[5] == WINNING.to_string());
    won.map(|row| row[3].parse().unwrap()).collect()
}

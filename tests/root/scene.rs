//! A server on a disk, and what must hold after every fault.

use std::fs;

use crate::disk::{Disk, path};
use crate::support::*;

pub const WINNING: u32 = 7574;
/// Longer than the tests' patience: a server that waits for its whole grace has failed.
const FOREVER: &str = "600s";

/// For three agencies, with its files on `disk`.
pub fn on(disk: &Disk) -> Setup {
    Setup::new(3).set("STORAGE_FILEPATH", path(&disk.bets())).set("SHUTDOWN_GRACE", FOREVER)
}

/// A connection that has claimed `agency`.
#[track_caller]
pub fn claimed(server: &Server, agency: u32) -> Conn {
    let mut conn = server.connect();
    conn.send(&count(agency)).received(agency);
    conn
}

/// What message 7 tells of `agency`, asked on a connection of its own.
#[track_caller]
pub fn held(server: &Server, agency: u32) -> (u64, bool, u32) {
    server.connect().send(&count(agency)).received(agency)
}

/// The bets of `agency` on `disk`, as they stand there; every row is whole.
#[track_caller]
pub fn rows_of(disk: &Disk, agency: u32) -> String {
    let text = String::from_utf8(fs::read(disk.bets()).unwrap()).unwrap();
    assert!(text.is_empty() || text.ends_with("\r\n"), "a row is torn: {text:?}");
    let rows = || text.split_inclusive("\r\n");
    assert!(rows().all(|row| row.split(',').count() == 6 && !row.contains('\0')), "{text:?}");
    rows().filter(|row| row.starts_with(&format!("{agency},"))).collect()
}

/// Rows of [`batch_of`].
pub fn rows(agency: u32, n: u32, number: u32) -> String {
    (0..n).map(|document| format!("{agency},Ana,Paz,{document},1999-03-17,{number}\r\n")).collect()
}

/// Of each of three agencies exactly `expected` is stored; everybody is served, the draw is held over all, nobody is left,
/// and the server stops in order. Returns its log.
#[track_caller]
pub fn assert_goes_on(server: Server, disk: &Disk, mut expected: [String; 3]) -> String {
    for (agency, expected) in (1..).zip(&mut expected) {
        let ended = held(&server, agency).1;
        assert_eq!(held(&server, agency), (lines(expected), ended, crc32fast::hash(expected.as_bytes())));
        let mut conn = claimed(&server, agency);
        if !ended {
            assert_eq!(conn.send(&batch_of(agency, 3, WINNING)).ack(), 0);
            *expected += &rows(agency, 3, WINNING);
        }
        assert_eq!(conn.send(&end(agency)).ack(), 0);
    }
    for (agency, expected) in (1..).zip(&expected) {
        assert_eq!(&rows_of(disk, agency), expected);
        assert_eq!(server.connect().send(&ask(agency)).winners(), Some(winners_in(expected)));
    }
    server.await_alone();
    server.stop()
}

fn lines(rows: &str) -> u64 {
    rows.matches("\r\n").count() as u64
}

fn winners_in(rows: &str) -> Vec<u32> {
    let won = rows.lines().map(|row| row.split(',').collect::<Vec<_>>()).filter(|row| row[5] == WINNING.to_string());
    won.map(|row| row[3].parse().unwrap()).collect()
}

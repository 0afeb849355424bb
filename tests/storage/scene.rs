//! Bets, and files that other processes damage.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::support::*;

/// A whole row that would win.
pub const FORGED: &[u8] = b"1,Mala,Fe,666,1999-03-17,7574\r\n";
/// The start of a row whose number would not win, cut off where it looks like one that would.
pub const TORN: &[u8] = b"1,Mala,Fe,666,1999-03-17,7574";

pub fn bet() -> Bet<'static> {
    Bet::default()
}

pub fn named<'a>(first: &'a str, last: &'a str, document: u32) -> Bet<'a> {
    Bet { first: first.as_bytes(), last: last.as_bytes(), document, ..bet() }
}

/// Ends `agency` and returns its winners.
#[track_caller]
pub fn winners(server: &Server, agency: u32) -> Vec<u32> {
    let mut client = server.connect();
    assert_eq!(client.send(&end(agency)).send(&ask(agency)).ack(), 0);
    client.winners().unwrap()
}

/// Appends bytes to a file, as another process would.
pub fn append(file: &Path, bytes: &[u8]) {
    File::options().append(true).open(file).unwrap().write_all(bytes).unwrap();
}

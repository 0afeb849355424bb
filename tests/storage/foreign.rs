//! Files that the server did not write, and the files that it makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::scene::*;
use crate::support::*;

const NOT_A_STORE: &str = " is not a file of a lottery";

/// The files of a lottery that exist in the directory of `setup`, with their content.
fn found(setup: &Setup) -> Vec<(&'static str, Vec<u8>)> {
    let names = ["bets.csv", "books", "draw", "bets.csv.rejected"];
    names.into_iter().filter_map(|name| Some((name, fs::read(setup.path(name)).ok()?))).collect()
}

fn refuses_to_start(setup: Setup, file: &str, defect: &str, why: &str) {
    let before = found(&setup);
    let mut refused = setup.spawn();
    assert_eq!(refused.wait().code(), Some(4), "{why}: {}", refused.own_log());
    let log = refused.own_log();
    let last = log.lines().last().unwrap();
    assert!(last.contains(&format!("{file}{defect}: ")), "{why}: {last}");
    assert_eq!(found(&refused.kill()), before, "{why}");
}

#[test]
fn foreign_files_in_place_of_the_bets_are_refused_untouched() {
    let foreign: [(&str, &[u8]); 5] = [
        ("an agency's file", b"Ana,Paz,7,1999-03-17,7574\nLuz,Sol,8,1999-03-17,1\n"),
        ("a text", b"# Notes\n\nNothing here is a bet.\n"),
        ("rows with a BOM", b"\xef\xbb\xbf1,Ana,Paz,7,1999-03-17,7574\r\n"),
        ("rows that an editor saved with LF", b"1,Ana,Paz,7,1999-03-17,7574\n"),
        ("binary data", &[0x7f, b'E', b'L', b'F', 0, 1, 2]),
    ];
    for (why, bytes) in foreign {
        let setup = Setup::new(1);
        fs::write(setup.path("bets.csv"), bytes).unwrap();
        refuses_to_start(setup, "bets.csv", NOT_A_STORE, why);
    }
}

#[test]
fn a_large_file_without_a_valid_row_is_refused_untouched() {
    // Without books, any valid rows would count; one write of this server leaves less than this.
    let (_, setup) = Server::start(1).stop_and_keep();
    fs::remove_file(setup.path("books")).unwrap();
    fs::write(setup.path("bets.csv"), "not a bet\r\n".repeat(30_000)).unwrap();
    refuses_to_start(setup, "bets.csv", ": the first row is not a bet", "a large file");
}

#[test]
fn foreign_files_called_books_and_draw_are_refused_untouched() {
    for name in ["books", "draw"] {
        let setup = Setup::new(1);
        fs::write(setup.path("bets.csv"), FORGED).unwrap();
        fs::write(setup.path(name), b"Somebody's own notes.\n").unwrap();
        refuses_to_start(setup, name, ": the first record is damaged", name);
    }
}

#[test]
fn new_files_are_private_whatever_the_umask() {
    let server = Setup::new(1).under(&["sh", "-c", "umask 0; exec \"$@\"", "sh"]).start();
    assert_eq!(server.store(&batch_of(1, 1, 1)), 0);
    let setup = server.kill();
    append(&setup.path("bets.csv"), TORN);
    let server = setup.start();
    for name in ["bets.csv", "books", "draw", "bets.csv.rejected"] {
        let mode = fs::metadata(server.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    server.stop();
}

#[test]
fn a_line_longer_than_any_row_ends_the_valid_rows() {
    let setup = Setup::new(1);
    let long = format!("1,{},Paz,7,1999-03-17,7574\r\n", "x".repeat(100_000));
    fs::write(setup.path("bets.csv"), [FORGED, long.as_bytes(), FORGED].concat()).unwrap();
    let server = setup.start();
    assert_eq!(server.bets(), FORGED);
    assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap().len(), long.len() + FORGED.len());
    server.stop();
}

#[test]
fn bets_of_more_than_a_million_agencies_are_refused_untouched() {
    let setup = Setup::new(0);
    let rows: String = (1..=1_000_001).map(|agency| row(agency, 7, 1)).collect();
    fs::write(setup.path("bets.csv"), rows).unwrap();
    refuses_to_start(setup, "bets.csv", ": more than 1000000 agencies have bets", "too many agencies");
}

#[test]
fn a_directory_with_the_name_of_an_older_file_is_ignored() {
    let setup = Setup::new(1);
    fs::create_dir(setup.path("ends")).unwrap();
    let server = setup.start();
    assert_eq!(server.store(&batch_of(1, 1, 1)), 0);
    server.stop();
}

#[test]
fn a_planted_link_in_place_of_a_temporary_file_is_not_followed() {
    let setup = Setup::new(1);
    fs::write(setup.path("victim"), "somebody's file").unwrap();
    for name in ["books.new", "draw.new"] {
        std::os::unix::fs::symlink(setup.path("victim"), setup.path(name)).unwrap();
    }
    let server = setup.start();
    assert_eq!(server.store(&batch_of(1, 1, 1)), 0);
    assert_eq!(fs::read(server.path("victim")).unwrap(), b"somebody's file");
    assert!(!server.path("books").is_symlink() && !server.path("draw").is_symlink());
    server.stop();
}

#[test]
fn numbers_of_other_programs_win_in_any_form() {
    let setup = Setup::new(1);
    let rows = [
        "1,Ana,Paz,1,1999-03-17,7574",
        "\"1\",\"Ana\",\"Paz\",\"2\",\"1999-03-17\",\"7574\"",
        "01,\"Paz, Ana\",Paz,3,1999-03-17,007574",
        "1,Ana,Paz,4,1999-03-17,\"75\"74",
        "1,Ana,Paz,5,1999-03-17,17574",
        "1,Ana,Paz,6,1999-03-17,\"17574\"",
        "1,Ana,Paz,7,1999-03-17,\"\"7574",
    ];
    fs::write(setup.path("bets.csv"), rows.map(|row| format!("{row}\r\n")).concat()).unwrap();
    let server = setup.start();
    assert_eq!(server.store(&end(1)), 0);
    assert_eq!(winners(&server, 1), [1, 2, 3, 4, 7]);
    server.stop();
}

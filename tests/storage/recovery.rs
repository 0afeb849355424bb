//! The committed length, and starts that must decide which rows count.

use std::fs;

use crate::scene::*;
use crate::support::*;

#[test]
fn the_next_writer_cuts_off_a_tail_and_it_never_wins() {
    let server = Server::start(1);
    let mut client = server.connect();
    for (n, tail) in [FORGED, TORN, &FORGED.repeat(50), b"\r\n", b"x"].into_iter().enumerate() {
        assert_eq!(client.send(&batch_of(1, 2, 1)).ack(), 0);
        let before = server.bets();
        append(&server.bets_path(), tail);
        assert_eq!(client.send(&batch_of(1, 1, WINNING)).ack(), 0);
        let after = server.bets();
        assert!(after.starts_with(&before) && server.rows().len() == 3 * (n + 1), "not cut off: {tail:?}");
        let dropped = format!("bytes: {} | ", tail.len());
        assert!(server.log().lines().any(|line| line.contains(" WARNING ") && line.contains(&dropped)), "{dropped}");
    }
    append(&server.bets_path(), FORGED);
    client.send(&count(1));
    let (rows, _, _) = client.tally(1);
    assert_eq!(rows, 15);
    append(&server.bets_path(), FORGED);
    client.send(&end(1)).send(&ask(1));
    assert_eq!(client.ack(), 0);
    assert_eq!(client.winners(), Some(vec![0; 5]));
    server.stop();
}

#[test]
fn a_tail_found_at_a_start_is_kept_aside_and_wins_nothing() {
    for tail in [FORGED, TORN, &FORGED[..7], b"\xff\xfe\r\n"] {
        let server = Server::start(1);
        assert_eq!(server.store(&batch_of(1, 4, WINNING)), 0);
        let before = server.bets();
        let setup = server.kill();
        append(&setup.path("bets.csv"), tail);
        let server = setup.start();
        assert_eq!(server.bets(), before, "{tail:?}");
        assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), tail);
        let length = format!("bytes: {} | ", tail.len());
        assert!(server.own_log().lines().any(|line| line.contains(" WARNING ") && line.contains(&length)));
        assert_eq!(server.tally(1), (4, false, crc32fast::hash(&before)));
        assert_eq!(winners(&server, 1), [0, 1, 2, 3]);
        server.stop();
    }
}

#[test]
fn without_books_the_longest_run_of_whole_valid_rows_counts() {
    let tails: [(&str, Vec<u8>); 7] = [
        ("a torn row", TORN.to_vec()),
        ("a row cut in its quotes", b"1,\"Mala, F".to_vec()),
        ("a row that ends in LF only", [TORN, b"\n"].concat()),
        ("no bet", b"1,Mala,Fe,666,1999-02-30,7574\r\n".to_vec()),
        ("a foreign row and a whole one after it", [b"hello\r\n", FORGED].concat()),
        ("too many fields", b"1,Mala,Fe,666,1999-03-17,7574,1\r\n".to_vec()),
        ("zeros, as a power cut leaves them", vec![0; 4096]),
    ];
    for (name, tail) in tails {
        let server = Server::start(1);
        assert_eq!(server.store(&batch_of(1, 4, WINNING)), 0);
        let before = server.bets();
        let setup = server.kill();
        fs::remove_file(setup.path("books")).unwrap();
        append(&setup.path("bets.csv"), &tail);
        let server = setup.start();
        assert_eq!(server.bets(), before, "{name}");
        assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), tail, "{name}");
        assert_eq!(winners(&server, 1), [0, 1, 2, 3], "{name}");
        server.stop();
    }
}

#[test]
fn books_of_another_boot_do_not_hide_rows_that_came_later() {
    let server = Server::start(1);
    assert_eq!(server.store(&batch_of(1, 2, 1)), 0);
    let before = server.bets();
    let setup = server.kill();
    // As if these rows had been written after the books reached the disk, and before the power was cut.
    append(&setup.path("bets.csv"), &[FORGED, TORN].concat());
    books::of_another_boot(&setup.path("books"));
    let server = setup.start();
    assert_eq!(server.bets(), [&before, FORGED].concat());
    assert_eq!(server.tally(1).0, 3);
    server.stop();
}

#[test]
fn a_tail_of_the_largest_group_is_moved_aside() {
    let server = Server::start(0);
    let quotes = [b'"'; 29];
    let largest = |_| Bet { first: &quotes, last: &quotes, document: u32::MAX, number: u32::MAX, ..bet() };
    let bets: Vec<_> = (0..255).map(largest).collect();
    assert_eq!(server.store(&batch(u32::MAX, &bets)), 0);
    let rows = server.bets();
    assert_eq!(rows.len(), 42_585);
    let setup = server.kill();
    // As a writer leaves a group that was killed together with its parent before it wrote the slot.
    let group = rows.repeat(6);
    append(&setup.path("bets.csv"), &group);
    let server = setup.start();
    assert_eq!(server.tally(u32::MAX).0, 255);
    assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), group);
    server.stop();
}

#[test]
fn a_tail_longer_than_one_write_leaves_is_refused() {
    let server = Server::start(1);
    assert_eq!(server.store(&batch_of(1, 2, 1)), 0);
    let setup = server.kill();
    // As if the books were an older copy.
    append(&setup.path("bets.csv"), &FORGED.repeat(9000));
    let before = fs::read(setup.path("bets.csv")).unwrap();
    let mut refused = setup.spawn();
    assert_eq!(refused.wait().code(), Some(4));
    assert!(refused.own_log().contains("bytes, but only 52 were committed"), "{}", refused.own_log());
    assert_eq!(refused.bets(), before);
}

#[test]
fn a_file_without_a_final_line_end_is_adopted() {
    let setup = Setup::new(1);
    write_file(
        &setup.path("bets.csv"),
        b"1,Ana,Paz,1,1999-03-17,7574\r\n1,Ana,Paz,2,1999-03-17,7574\r\n1,Ana,Paz,3,1999-03-17,75",
    );
    let server = setup.start();
    assert_eq!(winners(&server, 1), [1, 2]);
    assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), b"1,Ana,Paz,3,1999-03-17,75");
    server.stop();
}

#[test]
fn an_unusable_storage_path_is_exit_code_4_and_one_line() {
    for path in ["missing/bets.csv", "a_file/bets.csv", "."] {
        let setup = Setup::new(1);
        write_file(&setup.path("a_file"), b"");
        let (path, directory) = (setup.path(path), setup.path(""));
        let mut refused = setup.set("STORAGE_FILEPATH", path.display()).spawn();
        assert_eq!(refused.wait().code(), Some(4), "{path:?}");
        assert_one_complaint(&refused.log(), directory.to_str().unwrap());
    }
}

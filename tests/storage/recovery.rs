//! The committed length, and starts that must decide which rows count.

use std::fs::{self, File};

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
fn without_a_record_the_longest_run_of_whole_valid_rows_counts() {
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
        fs::remove_file(setup.path("bets.lock")).unwrap();
        append(&setup.path("bets.csv"), &tail);
        let server = setup.start();
        assert_eq!(server.bets(), before, "{name}");
        assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), tail, "{name}");
        assert_eq!(winners(&server, 1), [0, 1, 2, 3], "{name}");
        server.stop();
    }
}

#[test]
fn a_damaged_or_foreign_record_is_not_believed() {
    // The record: magic, boot id, device, inode, committed length, CRC-32 of these.
    let of_another_boot = |record: &mut Vec<u8>| {
        record[8..44].copy_from_slice(b"00000000-0000-0000-0000-000000000000");
        let body = record.len() - 4;
        let crc = crc32fast::hash(&record[..body]);
        record[body..].copy_from_slice(&crc.to_be_bytes());
    };
    type Spoil<'a> = &'a dyn Fn(&mut Vec<u8>);
    let ways: [(&str, Spoil<'_>); 4] = [
        ("a flipped bit", &|record| record[60] ^= 1),
        ("cut short", &|record| record.truncate(40)),
        ("empty", &Vec::clear),
        ("another boot", &of_another_boot),
    ];
    for (name, spoil) in ways {
        let server = Server::start(1);
        assert_eq!(server.store(&batch_of(1, 2, 1)), 0);
        let before = server.bets();
        let setup = server.kill();
        // As if these rows had been written after the record reached the disk, and before the power was cut.
        append(&setup.path("bets.csv"), &[FORGED, TORN].concat());
        let mut record = fs::read(setup.path("bets.lock")).unwrap();
        spoil(&mut record);
        fs::write(setup.path("bets.lock"), record).unwrap();
        let server = setup.start();
        assert_eq!(server.bets(), [&before, FORGED].concat(), "{name}");
        assert_eq!(server.tally(1).0, 3, "{name}");
        server.stop();
    }
    let server = Server::start(1);
    assert_eq!(server.store(&batch_of(1, 9, 1)), 0);
    let setup = server.kill();
    fs::write(setup.path("new"), FORGED).unwrap();
    fs::rename(setup.path("new"), setup.path("bets.csv")).unwrap();
    let server = setup.start();
    assert_eq!(server.tally(1).0, 1, "another file, put there while no server ran");
    server.stop();
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
fn a_start_over_bets_truncated_in_this_boot_is_refused() {
    let server = Server::start(1);
    assert_eq!(server.store(&batch_of(1, 5, WINNING)), 0);
    let setup = server.kill();
    File::options().write(true).open(setup.path("bets.csv")).unwrap().set_len(50).unwrap();
    let mut refused = setup.spawn();
    assert_eq!(refused.wait().code(), Some(4));
    let log = refused.own_log();
    assert_eq!(count_events(&log, "CRITICAL action: exit | result: fail | error: "), 1, "{log}");
    assert!(log.lines().last().unwrap().contains("bets.csv has 50 bytes, but "), "{log}");
    assert!(!log.contains("action: listen"));
    assert_eq!(refused.bets().len(), 50);
    // Follow the advice of that line.
    let setup = refused.kill();
    fs::remove_file(setup.path("bets.lock")).unwrap();
    let server = setup.start();
    assert_eq!(server.tally(1).0, 1);
    assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), &b"1,Ana,Paz,1,1999-03-17,7574\r\n"[..21]);
    server.stop();
}

#[test]
fn a_start_over_damaged_committed_rows_is_refused() {
    let server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 3, 1)), 0);
    let bets = server.bets();
    let row = bets.len() / 3;
    let (_, setup) = server.stop_and_keep();
    let damaged = [&bets[..row], &vec![0; row], &bets[2 * row..]].concat();
    fs::write(setup.path("bets.csv"), &damaged).unwrap();
    let mut refusing = setup.spawn();
    assert_eq!(refusing.wait().code(), Some(4));
    let log = refusing.own_log();
    assert!(log.lines().last().unwrap().contains(&format!("is damaged: no bet at byte {row}: ")), "{log}");
    assert_eq!(refusing.bets(), damaged);

    let setup = refusing.kill();
    fs::remove_file(setup.path("bets.lock")).unwrap();
    let again = setup.start();
    assert_eq!(again.tally(1).0, 1);
    assert_eq!(fs::read(again.path("bets.csv.rejected")).unwrap(), damaged[row..]);
    again.stop();
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

//! Files that another process changes while the server runs.

use std::fs::{self, File};

use crate::scene::*;
use crate::support::*;

/// Checks that every request that writes or counts gets code 4, on `client` and on new connections, and that the log
/// contains `why`.
#[track_caller]
fn refuses_with_4(server: &Server, mut client: Conn, why: &str) {
    let begun = server.log().len();
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).rest(), [2, 4], "a connection that was there");
    drop(client);
    for (name, message, answer) in [
        ("a batch", batch_of(1, 1, WINNING), &[2, 4][..]),
        ("an end", end(1), &[2, 4]),
        ("a count", count(1), &[2, 4]),
        ("a single bet", bet().single(1), &[4]),
        ("an untyped batch", untyped_batch(1, &[bet()]), &[4]),
    ] {
        assert_eq!(server.connect().send(&message).rest(), answer, "{name}");
    }
    server.await_childless();
    let log = &server.log()[begun..];
    assert_eq!(count_events(log, "ERROR "), 6, "{log}");
    assert!(events(log).iter().filter(|line| line.starts_with("ERROR")).all(|line| line.contains(why)), "{log}");
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
}

#[test]
fn truncated_bets_refuse_every_write_until_restored() {
    let server = Server::start(1);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 5, WINNING)).ack(), 0);
    let before = server.bets();
    for len in [0, before.len() as u64 - 1] {
        File::options().write(true).open(server.bets_path()).unwrap().set_len(len).unwrap();
        refuses_with_4(&server, client, "bets.csv has ");
        assert_eq!(server.bets().len() as u64, len, "nothing was written");
        fs::write(server.bets_path(), &before).unwrap();
        client = server.connect();
        client.send(&count(1)).tally(1);
    }
    drop(client);
    assert_eq!(winners(&server, 1), [0, 1, 2, 3, 4]);
    assert_eq!(server.bets(), before);
    server.stop();
}

#[test]
fn replaced_bets_refuse_every_write() {
    let server = Server::start(1);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 5, WINNING)).ack(), 0);
    let before = server.bets();
    fs::hard_link(server.bets_path(), server.path("spare")).unwrap();
    fs::write(server.path("new"), before.repeat(2)).unwrap();
    fs::rename(server.path("new"), server.bets_path()).unwrap();
    refuses_with_4(&server, client, "bets.csv was replaced");
    assert_eq!(server.bets(), before.repeat(2), "nothing was written");
    fs::rename(server.path("spare"), server.bets_path()).unwrap();
    assert_eq!(winners(&server, 1), [0, 1, 2, 3, 4]);
    server.stop();
}

#[test]
fn moved_or_removed_bets_refuse_every_write() {
    for removed in [false, true] {
        let server = Server::start(1);
        let mut client = server.connect();
        assert_eq!(client.send(&batch_of(1, 5, WINNING)).ack(), 0);
        fs::rename(server.bets_path(), server.path("elsewhere")).unwrap();
        if removed {
            fs::remove_file(server.path("elsewhere")).unwrap();
        }
        refuses_with_4(&server, client, "bets.csv: No such file");
        assert!(!server.bets_path().exists());
        if !removed {
            assert_eq!(fs::read(server.path("elsewhere")).unwrap().len(), 5 * "1,Ana,Paz,0,1999-03-17,7574\r\n".len());
            fs::rename(server.path("elsewhere"), server.bets_path()).unwrap();
            assert_eq!(winners(&server, 1), [0, 1, 2, 3, 4]);
        }
        server.stop();
    }
}

#[test]
fn a_replaced_lock_or_ends_file_refuses_its_open_sessions() {
    for (file, refused) in [("bets.lock", batch_of(1, 2, WINNING)), ("ends", end(1))] {
        let server = Server::start(2);
        let mut client = server.connect();
        assert_eq!(client.send(&batch_of(1, 1, WINNING)).ack(), 0);
        fs::copy(server.path(file), server.path("new")).unwrap();
        fs::rename(server.path("new"), server.path(file)).unwrap();
        // A session that opened the new files works; the one with the old files does not.
        assert_eq!(server.store(&batch_of(2, 1, WINNING)), 0);
        assert_eq!(client.send(&refused).rest(), [2, 4], "{file}");
        assert!(server.log().contains(&format!("{file} was replaced")), "{}", server.log());
        server.await_childless();
        assert_eq!(server.rows().len(), 2);
        assert_eq!(server.store(&end(1)), 0);
        assert_eq!(winners(&server, 2), [0]);
        server.stop();
    }
}

#[test]
fn bets_after_a_recorded_end_are_refused_on_any_connection() {
    let server = Server::start(2);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).ack(), 0);
    // As an older child leaves it that recorded the end and could not report it.
    let record = [&b"FIN1"[..], &1_u32.to_be_bytes()].concat();
    append(&server.path("ends"), &record);
    append(&server.path("ends"), &crc32fast::hash(&record).to_be_bytes());
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).rest(), [2, 3]);
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

//! Files that another process changes while the server runs.
//!
//! An open session has its files open. It notices that the file of the bets was removed or is too short. It does not
//! notice another name, which loses nothing: a start compares the file with the books.

use std::fs::{self, File};

use crate::scene::*;
use crate::support::*;

/// Checks that every request that stores or counts gets code 4 on a new connection, and that the log contains `why`.
#[track_caller]
fn refuses_with_4(server: &Server, why: &str) {
    let begun = server.log().len();
    for (name, message, answer) in [
        ("a batch", batch_of(1, 1, WINNING), &[2, 4][..]),
        ("an end", end(1), &[2, 4]),
        ("a count", count(1), &[2, 4]),
        ("a single bet", bet().single(1), &[4]),
        ("an untyped batch", untyped_batch(1, &[bet()]), &[4]),
    ] {
        assert_eq!(server.connect().send(&message).rest(), answer, "{name}");
    }
    eventually("their children have ended", || server.children().len() <= 1);
    let log = &server.log()[begun..];
    assert_eq!(count_events(log, "ERROR "), 5, "{log}");
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
        assert_eq!(client.send(&batch_of(1, 1, WINNING)).rest(), [2, 4], "a connection that was there");
        drop(client);
        refuses_with_4(&server, "bets.csv: the file has ");
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
fn replaced_or_removed_bets_refuse_every_write() {
    for replaced in [true, false] {
        let server = Server::start(1);
        let mut client = server.connect();
        assert_eq!(client.send(&batch_of(1, 5, WINNING)).ack(), 0);
        fs::write(server.path("new"), FORGED).unwrap();
        fs::remove_file(server.bets_path()).unwrap();
        if replaced {
            fs::rename(server.path("new"), server.bets_path()).unwrap();
        }
        let before = server.bets();
        assert_eq!(client.send(&batch_of(1, 1, WINNING)).rest(), [2, 4], "a connection that was there");
        drop(client);
        refuses_with_4(&server, if replaced { "bets.csv was replaced" } else { "bets.csv: No such file" });
        assert_eq!(server.bets(), before, "nothing was written");
        // The rows are gone: no start goes on without them.
        let mut refused = server.stop_and_keep().1.spawn();
        assert_eq!(refused.wait().code(), Some(4), "{}", refused.own_log());
    }
}

#[test]
fn moved_bets_refuse_new_connections_and_lose_nothing() {
    let server = Server::start(1);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 2, WINNING)).ack(), 0);
    fs::rename(server.bets_path(), server.path("elsewhere")).unwrap();
    assert_eq!(client.send(&batch(1, &[Bet { document: 9, number: WINNING, ..bet() }])).ack(), 0);
    drop(client);
    refuses_with_4(&server, "bets.csv: No such file");
    assert!(!server.bets_path().exists());
    let mut refused = server.kill().spawn();
    assert_eq!(refused.wait().code(), Some(4));
    let setup = refused.kill();
    fs::rename(setup.path("elsewhere"), setup.path("bets.csv")).unwrap();
    let server = setup.start();
    assert_eq!(winners(&server, 1), [0, 1, 9]);
    server.stop();
}

#[test]
fn replaced_books_or_draw_refuse_new_connections() {
    for file in ["books", "draw"] {
        let server = Server::start(2);
        let mut client = server.connect();
        assert_eq!(client.send(&batch_of(2, 1, WINNING)).ack(), 0);
        fs::rename(server.path(file), server.path("old")).unwrap();
        fs::copy(server.path("old"), server.path(file)).unwrap();
        refuses_with_4(&server, &format!("{file} was replaced"));
        // The sessions that had it open still share one file.
        assert_eq!(client.send(&batch_of(2, 2, WINNING)).ack(), 0);
        fs::rename(server.path("old"), server.path(file)).unwrap();
        assert_eq!(server.store(&end(1)), 0);
        drop(client);
        assert_eq!(winners(&server, 2), [0, 0, 1]);
        server.stop();
    }
}

#[test]
fn bets_after_a_recorded_end_are_refused_on_any_connection() {
    let server = Server::start(2);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).ack(), 0);
    // As a process leaves it that closed the slot and could not report it.
    books::edit_books(&server.path("books"), |books| books.put_slot(1, |slot| slot.flags |= 1));
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).rest(), [2, 3]);
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

#[test]
fn a_row_changed_at_run_time_stops_the_draw() {
    let mut server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    assert_eq!(server.store(&batch_of(2, 3, 1)), 0);
    assert_eq!(server.store(&end(2)), 0);
    // Agency 2 would win.
    let changed =
        String::from_utf8(server.bets()).unwrap().replace("2,Ana,Paz,0,1999-03-17,1", "2,Ana,Paz,0,1999-03-17,7");
    fs::write(server.bets_path(), &changed).unwrap();
    assert_eq!(server.store(&end(1)), 0);
    assert_eq!(server.wait().code(), Some(4));
    let log = server.own_log();
    assert!(log.contains("CRITICAL action: sorteo | result: fail | error: ") && !log.contains(SORTEO), "{log}");
    assert!(log.contains("bets.csv: agency 2: 3 bets expected, 3 found, which are not the same"), "{log}");
    let (before, mut refused) = (server.bets(), server.kill().spawn());
    assert_eq!(refused.wait().code(), Some(4));
    assert_eq!(refused.bets(), before);
}

#[test]
fn a_draw_without_an_end_in_the_books_is_not_held() {
    let reopened = |books: &mut books::Books| {
        let number = books.number_of(1);
        for half in books::Books::slot_halves(number) {
            if let Some(slot) = books::Slot::decode(&books.0[half.clone()]) {
                books.0[half].copy_from_slice(&books::Slot { flags: 0, ..slot }.encode());
            }
        }
    };
    let mut server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    assert_eq!(server.store(&end(1)), 0);
    server.await_childless();
    // The parent has counted this end.
    books::edit_books(&server.path("books"), reopened);
    assert_eq!(server.store(&end(2)), 0);
    assert_eq!(server.wait().code(), Some(4));
    let log = server.own_log();
    assert!(log.contains("the end of agency 1 is not in the books") && !log.contains(SORTEO), "{log}");
}

#[test]
fn a_draw_with_an_end_that_contradicts_its_slot_is_not_held() {
    let mut server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    assert_eq!(server.store(&end(1)), 0);
    server.await_childless();
    let number = books::Books::read(&server.path("books")).number_of(1);
    let mut draw = books::Draw::read(&server.path("draw"));
    let unit = books::Unit::decode(&draw.0[books::Draw::unit_range(number)]).unwrap();
    draw.0[books::Draw::unit_range(number)].copy_from_slice(&books::Unit { agency: 2, ..unit }.encode());
    draw.write(&server.path("draw"));
    assert_eq!(server.store(&end(2)), 0);
    assert_eq!(server.wait().code(), Some(4));
    let log = server.own_log();
    assert!(log.contains("draw: the record 0 of an end is damaged") && !log.contains(SORTEO), "{log}");
}

/// As a process leaves the books whose sync has failed.
fn doubt(server: &Server, also: impl FnOnce(&mut books::Books)) {
    server.await_childless();
    books::edit_books(&server.path("books"), |books| {
        also(books);
        books.put_head(|head| head.flags |= books::DOUBTFUL);
    });
}

#[test]
fn a_tally_after_a_failed_sync_is_not_reported() {
    let mut server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 1, WINNING)), 0);
    doubt(&server, |_| {});
    assert_eq!(server.connect().send(&count(1)).rest(), [0; 0]);
    assert_eq!(server.wait().code(), Some(4));
}

#[test]
fn an_end_after_a_failed_sync_is_not_reported() {
    let mut server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 1, WINNING)), 0);
    // Another process has closed the slot and died.
    doubt(&server, |books| books.put_slot(1, |slot| slot.flags |= books::CLOSED));
    assert_eq!(server.connect().send(&count(1)).rest(), [0; 0]);
    assert_eq!(server.wait().code(), Some(4));
}

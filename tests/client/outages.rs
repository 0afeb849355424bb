//! Refusals and broken connections at each message of a draw.

use std::time::Duration;

use crate::scene::*;
use crate::support::answers::confirmation;
use crate::support::peer::{Ledger, Message, Peer, PlayedServer, Reserved};
use crate::support::{agency_file, stored_rows};

#[test]
fn each_permanent_code_is_a_failure_at_every_message() {
    let names = ["message 6", "batch 1 ", "batch 2 ", "batch 3 ", "the end", "winners"];
    for code in [1, 2, 3, 6] {
        for (at, name) in names.into_iter().enumerate() {
            let server = PlayedServer::new();
            let client = draw(&server).bets(agency_file(25)).start();
            let mut peer = server.accept();
            let mut ledger = Ledger::default();
            for _ in 0..at {
                ledger.serve(&mut peer);
            }
            peer.message();
            peer.send(&confirmation(code));
            assert_eq!(peer.rest(), b"", "nothing more is sent");
            let hint = if code == 3 { "server --new-draw" } else { "" };
            client.end().failed(1, &[name, &format!("(code {code})"), hint]);
        }
    }
}

/// Plays a draw of 25 bets in which `fault` receives message number `at` and its connection, instead of an answer.
fn draw_with(at: usize, fault: impl FnOnce(&mut Ledger, &Message, Peer)) {
    let server = PlayedServer::new();
    let client = draw(&server).bets(agency_file(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    for _ in 0..at {
        ledger.serve(&mut peer);
    }
    let message = peer.message();
    fault(&mut ledger, &message, peer);
    let mut peer = server.accept();
    let first = ledger.serve(&mut peer);
    // After its end was acknowledged, the client sends only message 3.
    assert_eq!(first, if at > BATCHES + 1 { Message::Winners } else { Message::Received });
    if first != Message::Winners {
        ledger.serve_all(&mut peer);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 2"), 1);
    assert_eq!(ledger.rows, stored_rows(25), "message {at}");
}

#[test]
fn a_long_wait_for_the_draw_ends_an_outage() {
    let server = PlayedServer::new();
    let client = draw(&server).set("RETRY_TIMEOUT", "3s").bets(agency_file(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    for _ in 0..BATCHES + 2 {
        ledger.serve(&mut peer);
    }
    for wait in [0, 6] {
        assert_eq!(peer.message(), Message::Winners);
        // The test needs a wait of this length.
        std::thread::sleep(Duration::from_secs(wait));
        peer.send(&confirmation(7));
        peer = server.accept();
    }
    ledger.serve(&mut peer);
    client.end().succeeded();
}

#[test]
fn after_codes_4_5_and_7_a_new_connection_asks_again() {
    for at in 0..=BATCHES + 2 {
        let code = [4, 5, 7][at % 3];
        draw_with(at, |_, _, mut peer| {
            peer.send(&confirmation(code));
        });
    }
}

#[test]
fn a_close_before_anything_is_stored_loses_and_doubles_nothing() {
    for at in 0..=BATCHES + 2 {
        draw_with(at, |_, _, peer| drop(peer));
    }
}

#[test]
fn a_reset_after_all_is_stored_loses_and_doubles_nothing() {
    for at in 0..=BATCHES + 1 {
        draw_with(at, |ledger, message, peer| {
            ledger.store(message);
            peer.reset();
        });
    }
}

#[test]
fn a_truncated_answer_counts_for_nothing() {
    for at in 0..=BATCHES + 2 {
        draw_with(at, |ledger, message, mut peer| {
            ledger.store(message);
            let answer = ledger.answer(message);
            peer.send(&answer[..answer.len() - 1]);
        });
    }
}

#[test]
fn without_a_server_the_client_gives_up_after_retry_timeout() {
    let reserved = Reserved::new();
    let client = draw(&PlayedServer::new()).server(reserved.address()).set("RETRY_TIMEOUT", "250ms").bets("").start();
    let ended = client.end();
    ended.failed(1, &["gave up after 250ms", &reserved.address().to_string(), "refused"]);
    assert!(ended.count(RETRY) >= 2, "{ended:?}");
    assert_eq!(ended.count(CLOSE_FILE), 1);
}

#[test]
fn without_retry_time_the_first_failure_is_final() {
    let reserved = Reserved::new();
    let client = draw(&PlayedServer::new()).server(reserved.address()).set("RETRY_TIMEOUT", "0s").bets("").start();
    let ended = client.end();
    ended.failed(1, &["refused"]);
    assert_eq!(ended.count(RETRY), 0);
}

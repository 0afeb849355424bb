//! Several batches that are sent and not yet acknowledged.

use std::collections::VecDeque;

use crate::scene::*;
use crate::support::answers::{confirmation, received, winners};
use crate::support::peer::{Ledger, Message, Peer, PlayedServer};
use crate::support::{Client, ClientSetup, agency_file, stored_rows};

const ACKNOWLEDGEMENT: [u8; 2] = [2, 0];

/// A client with this window and `batches` batches of 10 bets, whose message 6 is answered.
fn with_window(server: &PlayedServer, window: usize, batches: u32) -> (Client, Peer) {
    begun(server, draw(server).set("BATCH_WINDOW", &window.to_string()).bets(agency_file(10 * batches)))
}

/// `count` batches arrive, and then nothing.
fn arrive(peer: &mut Peer, count: usize) {
    for _ in 0..count {
        assert!(matches!(peer.message(), Message::Batch(_)));
    }
    assert!(peer.is_quiet(), "more than {count} batches");
}

/// The end, and then the query for the winners.
fn end(mut peer: Peer, client: Client) {
    assert_eq!(peer.message(), Message::End);
    peer.send(&confirmation(0));
    assert_eq!(peer.message(), Message::Winners);
    peer.send(&winners(&[]));
    client.end().succeeded();
}

#[test]
fn window_is_refilled_as_a_whole_once_half_of_it_is_free() {
    for window in [1, 2, 3, 4, 7, 12] {
        let server = PlayedServer::new();
        let (client, mut peer) = with_window(&server, window, 30);
        arrive(&mut peer, window);
        let half = window.div_ceil(2);
        let mut left = 30 - window;
        for _ in 0..2 {
            for _ in 1..half {
                peer.send(&ACKNOWLEDGEMENT);
            }
            assert!(peer.is_quiet(), "window {window}: less than half is free");
            peer.send(&ACKNOWLEDGEMENT);
            arrive(&mut peer, half.min(left));
            left -= half.min(left);
        }
        client.stop();
    }
}

#[test]
fn all_acknowledgements_that_arrived_make_room_at_once() {
    let server = PlayedServer::new();
    let (client, mut peer) = with_window(&server, 8, 20);
    arrive(&mut peer, 8);
    peer.send(&ACKNOWLEDGEMENT.repeat(7));
    arrive(&mut peer, 7);
    peer.send(&ACKNOWLEDGEMENT.repeat(8));
    arrive(&mut peer, 5);
    peer.send(&ACKNOWLEDGEMENT.repeat(5));
    end(peer, client);
}

#[test]
fn acknowledgements_may_arrive_in_odd_pieces() {
    let server = PlayedServer::new();
    let (client, mut peer) = with_window(&server, 12, 40);
    let mut ledger = Ledger::default();
    // Bytes of acknowledgements that are due and not sent yet.
    let mut due = VecDeque::new();
    for piece in [1, 3, 5, 7, 9].into_iter().cycle() {
        while due.len() < piece && ledger.documents.len() < 400 {
            ledger.store(&peer.message());
            due.extend(ACKNOWLEDGEMENT);
        }
        peer.send(&due.drain(..piece.min(due.len())).collect::<Vec<_>>());
        if due.is_empty() && ledger.documents.len() == 400 {
            break;
        }
    }
    end(peer, client);
    assert_eq!(ledger.rows, stored_rows(400));
}

#[test]
fn window_is_16_by_default_and_1_without_resume() {
    let server = PlayedServer::new();
    let setup = |resume| draw(&server).without("CLI_BATCH_WINDOW").set("RESUME", resume).bets(agency_file(300));
    let (client, mut peer) = begun(&server, setup("true"));
    arrive(&mut peer, 16);
    client.stop();
    let client = setup("false").start();
    let mut peer = server.accept();
    arrive(&mut peer, 1);
    client.stop();
}

#[test]
fn refusal_of_the_third_of_twelve_batches_is_reported() {
    let server = PlayedServer::new();
    let (client, mut peer) = with_window(&server, 12, 30);
    arrive(&mut peer, 12);
    // The server drops all batches after the refused one.
    peer.send(&[2, 0, 2, 0, 2, 1]).finish();
    assert_eq!(peer.rest(), b"", "nothing more is sent");
    let ended = client.end();
    ended.failed(1, &["batch 3 (bets 21 to 30)", "invalid bet (code 1)"]);
    assert_eq!(ended.count("action: batch_enviado | result: success"), 2);
}

#[test]
fn temporary_refusal_of_the_third_of_twelve_loses_and_doubles_nothing() {
    for code in [4, 5, 7] {
        let server = PlayedServer::new();
        let (client, mut peer) = with_window(&server, 12, 30);
        let mut ledger = Ledger::default();
        for message in [peer.message(), peer.message()] {
            ledger.store(&message);
        }
        arrive(&mut peer, 10);
        peer.send(&[2, 0, 2, 0]).send(&confirmation(code));
        drop(peer);
        let mut peer = server.accept();
        assert_eq!(peer.message(), Message::Received);
        peer.send(&received(20, false, &ledger.rows));
        let Message::Batch(bets) = peer.message() else { panic!() };
        assert_eq!(bets[0].document, 20);
        ledger.store(&Message::Batch(bets));
        peer.send(&confirmation(0));
        ledger.serve_all(&mut peer);
        client.end().succeeded();
        assert_eq!(ledger.rows, stored_rows(300));
    }
}

#[test]
fn every_batch_of_a_window_keeps_both_limits() {
    let name = "ñ".repeat(14) + "x";
    let file: String = (0..2_000).map(|i| format!("{name},{name},{i},1999-03-17,7\n")).collect();
    for (most, sizes) in [("255", [101, 101, 101]), ("99", [99, 99, 99])] {
        let server = PlayedServer::new();
        let setup = ClientSetup::new("draw").server(server.address()).set("BATCH_MAXAMOUNT", most).bets(&file);
        let (client, mut peer) = begun(&server, setup);
        for size in sizes {
            // Peer::message checks the length of each batch.
            let Message::Batch(bets) = peer.message() else { panic!() };
            assert_eq!(bets.len(), size);
        }
        client.stop();
    }
}

//! Servers that know only message types 1 to 5.

use crate::scene::*;
use crate::support::answers::{confirmation, winners};
use crate::support::peer::{Ledger, Message, PlayedServer};
use crate::support::{agency_file, stored_rows};

#[test]
fn without_resume_each_winners_query_has_its_own_connection() {
    let server = PlayedServer::new();
    let client = draw(&server).set("RESUME", "false").bets(agency_file(25)).start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    while ledger.serve(&mut peer) != Message::End {}
    drop(peer);
    for _ in 0..3 {
        let mut peer = server.accept();
        assert_eq!(peer.message(), Message::Winners);
        peer.send(&[4]);
    }
    assert_eq!(ledger.serve(&mut server.accept()), Message::Winners);
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ledger.rows, stored_rows(25));
    assert_eq!((ended.count(RETRY), ended.count("| cant_ganadores: 2")), (0, 1), "{ended:?}");
}

#[test]
fn an_early_query_is_repeated_on_the_same_connection() {
    let server = PlayedServer::new();
    let client = draw(&server).bets(agency_file(5)).start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    while ledger.serve(&mut peer) != Message::End {}
    for _ in 0..3 {
        assert_eq!(peer.message(), Message::Winners);
        peer.send(&[4]);
    }
    ledger.serve(&mut peer);
    let ended = client.end();
    ended.succeeded();
    assert!(server.is_quiet());
    assert_eq!(ended.count(CLOSE_CONNECTION), 1);
}

#[test]
fn without_resume_sending_continues_after_the_last_acked_batch() {
    let server = PlayedServer::new();
    let client = draw(&server).set("RESUME", "false").set("BATCH_WINDOW", "2").bets(agency_file(35)).start();
    let first_document = |message| match message {
        Message::Batch(bets) => bets[0].document,
        other => panic!("{other:?}"),
    };
    let mut peer = server.accept();
    assert_eq!([first_document(peer.message()), first_document(peer.message())], [0, 10]);
    peer.send(&confirmation(0));
    assert_eq!(first_document(peer.message()), 20);
    drop(peer);
    let mut peer = server.accept();
    assert_eq!([first_document(peer.message()), first_document(peer.message())], [10, 20]);
    peer.send(&[2, 0, 2, 0]);
    assert_eq!(first_document(peer.message()), 30);
    peer.send(&confirmation(0));
    assert_eq!(peer.message(), Message::End);
    drop(peer);
    let mut peer = server.accept();
    assert_eq!(peer.message(), Message::End);
    peer.send(&confirmation(0));
    peer.message();
    peer.send(&winners(&[]));
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count(RETRY), 2, "{ended:?}");
}

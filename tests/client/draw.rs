//! Mode draw, without faults of the connection.

use nix::pty::openpty;
use nix::sys::termios::{FlowArg, tcflow};

use crate::scene::*;
use crate::support::answers::{confirmation, received, winners};
use crate::support::peer::{Ledger, Message, PlayedServer};
use crate::support::{agency_file, stored_rows};

#[test]
fn a_whole_draw_is_one_conversation_on_one_connection() {
    let server = PlayedServer::new();
    let client = draw(&server).bets(agency_file(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    assert_eq!(ledger.serve(&mut peer), Message::Received);
    for expected in [10, 10, 5] {
        let Message::Batch(bets) = ledger.serve(&mut peer) else { panic!() };
        assert_eq!(bets.len(), expected);
    }
    assert_eq!(ledger.serve(&mut peer), Message::End);
    assert_eq!(ledger.serve(&mut peer), Message::Winners);
    assert_eq!(peer.rest(), b"");
    assert_eq!(ledger.rows, stored_rows(25));
    let ended = client.end();
    ended.succeeded();
    let winners = ended.position("INFO     action: consulta_ganadores | result: success | cant_ganadores: 2");
    assert!(ended.position(CLOSE_FILE) < winners && ended.position(CLOSE_CONNECTION) < winners);
    assert_eq!(winners + 2, ended.log.len());
    assert_eq!(ended.count(RETRY), 0);
}

#[test]
fn an_agency_without_bets_ends_and_asks() {
    let server = PlayedServer::new();
    let client = draw(&server).bets("").start();
    let mut peer = server.accept();
    for (message, answer) in [
        (Message::Received, received(0, false, "")),
        (Message::End, confirmation(0).to_vec()),
        (Message::Winners, winners(&[])),
    ] {
        assert_eq!(peer.message(), message);
        peer.send(&answer);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 0"), 1);
}

#[test]
fn many_winners_in_many_pieces_are_counted() {
    let server = PlayedServer::new();
    let client = draw(&server).set("RESUME", "false").bets("").start();
    let mut peer = server.accept();
    Ledger::default().serve(&mut peer);
    assert_eq!(peer.message(), Message::Winners);
    for piece in winners(&[7574; 100_000]).chunks(4_001) {
        peer.send(piece);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 100000"), 1);
}

#[test]
fn with_a_window_the_refused_batch_is_named() {
    let server = PlayedServer::new();
    let (client, mut peer) = begun(&server, draw(&server).set("BATCH_WINDOW", "4").bets(agency_file(50)));
    for _ in 0..4 {
        peer.message();
    }
    peer.send(&[2, 0, 2, 1]);
    client.end().failed(1, &["batch 2 (bets 11 to 20)", "invalid bet (code 1)"]);
}

#[test]
fn a_window_without_bound_is_served() {
    let server = PlayedServer::new();
    let client = draw(&server).set("BATCH_WINDOW", "4294967295").bets(agency_file(20_000)).start();
    let mut ledger = Ledger::default();
    ledger.serve_all(&mut server.accept());
    client.end().succeeded();
    assert_eq!(ledger.rows, stored_rows(20_000));
}

#[test]
fn a_code_is_read_while_the_server_reads_nothing() {
    let server = PlayedServer::new();
    // Far more bytes than the kernel buffers.
    let (client, mut peer) = begun(&server, draw(&server).set("BATCH_WINDOW", "100000").bets(agency_file(400_000)));
    peer.message();
    peer.send(&confirmation(2)).finish();
    client.end().failed(1, &["batch 1 (bets 1 to 10)", "(code 2)"]);
}

#[test]
fn a_code_before_a_reset_is_reported() {
    let server = PlayedServer::new();
    let (client, mut peer) = begun(&server, draw(&server).set("BATCH_WINDOW", "100000").bets(agency_file(400_000)));
    peer.message();
    peer.send(&confirmation(6));
    // Bytes are unread, so this close resets the connection.
    drop(peer);
    client.end().failed(1, &["batch 1 (bets 1 to 10)", "(code 6)"]);
}

#[test]
fn an_unexpected_answer_is_a_failure() {
    let answers = [&[4][..], &[5, 0, 0, 0, 0], &received(0, false, ""), b"hola\n", &[2, 77], &[1, 0, 0, 0, 1, 0]];
    for answer in answers {
        let server = PlayedServer::new();
        let (client, mut peer) = begun(&server, draw(&server).bets(agency_file(1)));
        peer.message();
        peer.send(answer);
        client.end().failed(1, &["batch 1 (bets 1 to 1) was answered with"]);
    }
}

#[test]
fn a_paused_terminal_does_not_pause_the_client() {
    let server = PlayedServer::new();
    let terminal = openpty(None, None).unwrap();
    tcflow(&terminal.slave, FlowArg::TCOOFF).unwrap();
    let client = draw(&server).bets(agency_file(25)).variable("TERM", "xterm").terminal(terminal.slave).start();
    Ledger::default().serve_all(&mut server.accept());
    client.end().succeeded();
}

//! SIGTERM and SIGINT, at every moment.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::scene::*;
use crate::support::answers::winners;
use crate::support::peer::{Ledger, Peer, PlayedServer, Reserved};
use crate::support::{Client, ClientSetup, agency_file};

/// A draw of three batches, served up to message number `at`, which is read but not answered.
fn served_up_to(at: usize) -> (Client, Peer) {
    let server = PlayedServer::new();
    let mut client = draw(&server).bets(agency_file(25)).start();
    client.line("action: config");
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    for _ in 0..at {
        ledger.serve(&mut peer);
    }
    peer.message();
    (client, peer)
}

#[test]
fn a_signal_during_a_wait_closes_file_and_connection() {
    for at in 0..=BATCHES + 2 {
        let (client, peer) = served_up_to(at);
        let ended = client.stop();
        assert_eq!((ended.count(CLOSE_FILE), ended.count(CLOSE_CONNECTION)), (1, 1), "message {at}: {ended:#?}");
        assert_eq!(peer.rest(), b"");
    }
}

#[test]
fn sigint_stops_the_client_like_sigterm() {
    let (client, _peer) = served_up_to(1);
    client.signal(Signal::SIGINT);
    client.end().succeeded();
}

#[test]
fn a_signal_inside_an_answer_stops_the_client() {
    let (client, mut peer) = served_up_to(BATCHES + 2);
    peer.send(&winners(&[1, 2, 3])[..7]);
    client.stop();
}

#[test]
fn a_signal_during_name_resolution_stops_the_client() {
    let setup = ClientSetup::new("draw").set("SERVER_ADDRESS", "no-such-host.invalid:12345").bets("");
    let mut client = setup.start();
    client.line("action: connect | result: in_progress | server_address: no-such-host.invalid:12345");
    assert_eq!(client.stop().count(CLOSE_FILE), 1);
}

#[test]
fn a_signal_during_connect_stops_the_client() {
    let (server, _queue): (PlayedServer, Vec<TcpStream>) = Reserved::new().listen_and_ignore();
    for mode in ["draw", "batch", "echo"] {
        let mut client = ClientSetup::new(mode).server(server.address()).bets(agency_file(1)).start();
        client.line("action: connect | result: in_progress");
        assert_eq!(client.stop().count(CLOSE_FILE), usize::from(mode != "echo"));
    }
}

#[test]
fn a_signal_before_the_server_accepts_stops_the_client() {
    for mode in ["draw", "batch", "echo"] {
        let server = PlayedServer::new();
        let mut client = ClientSetup::new(mode).server(server.address()).bets(agency_file(1)).start();
        client.line("action: connect | result: success");
        let ended = client.stop();
        let line = "INFO     action: close_connection | result: success";
        assert_eq!((ended.count(CLOSE_FILE), ended.count(line)), (usize::from(mode != "echo"), 1), "{ended:#?}");
    }
}

#[test]
fn a_signal_between_two_attempts_stops_the_client() {
    let reserved = Reserved::new();
    for mode in ["draw", "batch", "echo"] {
        let mut client = ClientSetup::new(mode).server(reserved.address()).bets(agency_file(1)).start();
        client.line(RETRY);
        client.stop();
    }
}

#[test]
fn a_signal_while_the_server_reads_nothing_stops_the_client() {
    let server = PlayedServer::new();
    let (client, mut peer) = begun(&server, draw(&server).set("BATCH_WINDOW", "100000").bets(agency_file(400_000)));
    peer.message();
    let ended = client.stop();
    assert_eq!((ended.count(CLOSE_FILE), ended.count(CLOSE_CONNECTION)), (1, 1), "{ended:#?}");
}

#[test]
fn a_signal_between_two_queries_stops_the_client() {
    let server = PlayedServer::new();
    let mut client = draw(&server).bets("").start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    ledger.serve(&mut peer);
    ledger.serve(&mut peer);
    peer.message();
    peer.send(&[4]);
    client.line("action: consulta_ganadores | result: in_progress");
    client.stop();
}

#[test]
fn a_signal_between_two_echoes_stops_the_client() {
    let server = PlayedServer::new();
    let mut client = ClientSetup::new("echo").server(server.address()).set("LOOP_PERIOD", "1h").start();
    let mut peer = server.accept();
    peer.text();
    peer.send(b"x\n");
    client.line("action: receive_message");
    assert_eq!(client.stop().count("loop_finished"), 0);
}

#[test]
fn a_signal_ends_the_settle_pause_and_the_winners_are_logged() {
    let server = PlayedServer::new();
    let mut client = draw(&server).set("LOG_SETTLE", "1h").bets(agency_file(25)).start();
    let mut ledger = Ledger::default();
    ledger.serve_all(&mut server.accept());
    client.line(CLOSE_CONNECTION);
    assert!(client.is_quiet());
    let ended = client.stop();
    assert_eq!((ended.count("| cant_ganadores: 2"), ended.count(CLOSE_FILE)), (1, 1), "{ended:#?}");
}

//! The pauses of LOG_SETTLE.

use std::time::{Duration, Instant};

use crate::scene::*;
use crate::support::ClientSetup;
use crate::support::peer::{Ledger, PlayedServer};

#[test]
fn every_mode_pauses_before_the_last_line() {
    let server = PlayedServer::new();
    let mut client = bet(&server).set("LOG_SETTLE", "1h").start();
    let mut peer = server.accept();
    peer.read(BET.len());
    peer.send(&[0]);
    client.line("action: apuesta_enviada");
    assert!(client.is_quiet());
    client.stop();
    let mut client = batch(&server).bets("").set("LOG_SETTLE", "1h").start();
    client.line(CLOSE_FILE);
    assert!(client.is_quiet());
    client.stop();
    let mut client = ClientSetup::new("echo").set("LOOP_AMOUNT", "0").set("LOG_SETTLE", "1h").start();
    client.line("action: loop_finished");
    assert!(client.is_quiet());
    client.stop();
}

#[test]
fn a_draw_pauses_twice_and_then_ends() {
    let server = PlayedServer::new();
    let client = draw(&server).set("LOG_SETTLE", "200ms").bets("").start();
    Ledger::default().serve_all(&mut server.accept());
    let answered = Instant::now();
    client.end().succeeded();
    assert!(answered.elapsed() >= Duration::from_millis(400));
}

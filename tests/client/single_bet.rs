//! Mode bet.

use crate::scene::*;
use crate::support::peer::PlayedServer;

#[test]
fn a_bet_is_sent_and_its_acknowledgement_logged() {
    let server = PlayedServer::new();
    let client = bet(&server).start();
    let mut peer = server.accept();
    assert_eq!(peer.read(BET.len()), BET);
    assert!(peer.is_quiet());
    peer.send(&[0]);
    assert_eq!(peer.rest(), b"");
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("INFO     action: apuesta_enviada | result: success | dni: 30904465 | numero: 7574"), 1);
}

#[test]
fn a_bet_is_sent_again_after_codes_4_5_7_and_a_close() {
    let server = PlayedServer::new();
    let client = bet(&server).start();
    drop(server.accept());
    for code in [4, 5, 7, 0] {
        let mut peer = server.accept();
        assert_eq!(peer.read(BET.len()), BET);
        peer.send(&[code]);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count(RETRY), 4, "{ended:?}");
}

#[test]
fn permanently_refused_bet_fails_with_its_code() {
    for (code, text) in [(1, "(code 1)"), (2, "(code 2)"), (3, "--new-draw"), (6, "(code 6)"), (99, "99")] {
        let server = PlayedServer::new();
        let client = bet(&server).start();
        let mut peer = server.accept();
        peer.read(BET.len());
        peer.send(&[code]);
        client.end().failed(1, &["the bet", text]);
    }
}

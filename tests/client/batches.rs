//! Mode batch.

use crate::scene::*;
use crate::support::peer::PlayedServer;

#[test]
fn each_batch_has_its_own_connection_and_only_the_last_is_short() {
    let server = PlayedServer::new();
    let client = batch(&server).start();
    let mut documents = 0..;
    for expected in [10, 10, 5] {
        let mut peer = server.accept();
        let bets = peer.untyped_batch();
        assert_eq!(bets.len(), expected);
        assert!(bets.iter().all(|bet| documents.next() == Some(bet.document)));
        peer.send(&[0]);
        assert_eq!(peer.rest(), b"");
    }
    let ended = client.end();
    ended.succeeded();
    assert!(ended.position(CLOSE_FILE) < ended.position("action: exit"));
}

#[test]
fn after_codes_4_5_7_or_a_close_only_that_batch_is_sent_again() {
    let server = PlayedServer::new();
    let client = batch(&server).start();
    for (code, first) in [(0, 0), (4, 10), (5, 10), (7, 10), (0, 10), (0, 20)] {
        let mut peer = server.accept();
        assert_eq!(peer.untyped_batch()[0].document, first);
        if first == 20 {
            drop(peer);
            peer = server.accept();
            assert_eq!(peer.untyped_batch()[0].document, first);
        }
        peer.send(&[code]);
    }
    client.end().succeeded();
}

#[test]
fn permanently_refused_batch_fails_with_code_and_batch_number() {
    for code in [1, 2, 3, 6] {
        let server = PlayedServer::new();
        let client = batch(&server).start();
        for answer in [0, code] {
            let mut peer = server.accept();
            peer.untyped_batch();
            peer.send(&[answer]);
        }
        client.end().failed(1, &["batch 2 (bets 11 to 20)", &format!("(code {code})")]);
    }
}

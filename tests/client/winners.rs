//! Answers with more winners than a client can hold or believe.

use crate::scene::*;
use crate::support::answers::winners;
use crate::support::peer::{Ledger, Message, Peer, PlayedServer};
use crate::support::{A_WHILE, Client, ClientSetup, agency_file, peak};

/// The start of message 5 with the greatest count.
const ENDLESS: [u8; 5] = [5, 0xff, 0xff, 0xff, 0xff];
/// Bytes of documents that a test sends at most: many times the memory of a client.
const STREAMED: usize = 64 * 1024 * 1024;
/// Memory in kB that a client may need for any number of winners.
const MARGIN: u64 = 4096;

/// Plays a draw up to the query for the winners, which is not answered yet.
fn asking(server: &PlayedServer, setup: ClientSetup) -> (Client, Peer) {
    let client = setup.start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    while ledger.serve(&mut peer) != Message::End {}
    assert_eq!(peer.message(), Message::Winners);
    (client, peer)
}

fn without_resume(server: &PlayedServer) -> ClientSetup {
    draw(server).set("RESUME", "false").bets(agency_file(25))
}

/// Sends documents until the client closes the connection, [`STREAMED`] bytes at most.
fn stream_zeros(peer: &mut Peer) {
    let zeros = vec![0; 64 * 1024];
    let _ = (0..STREAMED / zeros.len()).try_for_each(|_| peer.try_send(&zeros));
}

#[test]
fn more_winners_than_bets_are_a_failure_at_the_count() {
    for (count, streams) in [(26_u32, false), (u32::MAX, false), (u32::MAX, true)] {
        let server = PlayedServer::new();
        let (client, mut peer) = asking(&server, draw(&server).bets(format!("bad\n{}", agency_file(25))));
        peer.send(&[5]).send(&count.to_be_bytes());
        if streams {
            stream_zeros(&mut peer);
        }
        let ended = client.end();
        ended.failed(1, &[&format!("announces {count} winners"), "the agency has only 25 bets"]);
        assert_eq!(ended.count("cant_ganadores"), 0);
        assert!(server.is_quiet());
    }
}

#[test]
fn as_many_winners_as_bets_are_counted() {
    let server = PlayedServer::new();
    let (client, mut peer) = asking(&server, draw(&server).bets(agency_file(25)));
    peer.send(&winners(&[0; 25]));
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 25"), 1);
}

#[test]
fn the_memory_does_not_grow_with_the_winners() {
    let server = PlayedServer::new();
    let (client, mut peer) = asking(&server, without_resume(&server));
    let before = peak(client.pid());
    peer.send(&ENDLESS);
    stream_zeros(&mut peer);
    assert!(peer.is_quiet(), "the client still reads");
    let grown = peak(client.pid()) - before;
    assert!(grown < MARGIN, "{grown} kB");
    // The cut answer counts for nothing.
    drop(peer);
    let mut peer = server.accept();
    assert_eq!(peer.message(), Message::Winners);
    for piece in winners(&vec![7574; 1_000_000]).chunks(4_001) {
        peer.send(piece);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 1000000"), 1);
}

#[test]
fn an_answer_cut_at_any_byte_is_asked_for_again() {
    for cut in [1, 4, 5, 6, 9, 12] {
        let server = PlayedServer::new();
        let (client, mut peer) = asking(&server, without_resume(&server));
        peer.send(&winners(&[1, 2])[..cut]);
        drop(peer);
        let mut peer = server.accept();
        assert_eq!(peer.message(), Message::Winners);
        for byte in winners(&[1, 2, 3]) {
            peer.send(&[byte]);
        }
        let ended = client.end();
        ended.succeeded();
        assert_eq!(ended.count("| cant_ganadores: 3"), 1);
    }
}

#[test]
fn winners_before_the_query_are_a_failure_at_the_count() {
    let server = PlayedServer::new();
    let client = draw(&server).bets(agency_file(25)).start();
    let mut peer = server.accept();
    assert_eq!(peer.message(), Message::Received);
    peer.send(&ENDLESS);
    client.end().failed(1, &["set resume to false (it answered with winners (message 5))"]);
    let (client, mut peer) = begun(&server, draw(&server).bets(agency_file(25)));
    peer.message();
    peer.send(&ENDLESS);
    client.end().failed(1, &["batch 1 (bets 1 to 10) was answered with winners (message 5)"]);
}

#[test]
fn a_request_to_stop_ends_the_counting() {
    let server = PlayedServer::new();
    let (client, mut peer) = asking(&server, without_resume(&server));
    peer.send(&ENDLESS).send(&[0; 1000]);
    // Time for the client to read them; without it the test is weaker, not wrong.
    std::thread::sleep(A_WHILE);
    client.stop();
}

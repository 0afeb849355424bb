//! A client that asks which bets the server has.

use crate::scene::*;
use crate::support::answers::{confirmation, received, winners};
use crate::support::peer::{Ledger, Message, PlayedServer};
use crate::support::{agency_file, stored_rows};

#[test]
fn bets_that_the_server_has_are_not_sent_again() {
    for held in [1, 10, 24, 25] {
        let server = PlayedServer::new();
        let client = draw(&server).bets(agency_file(25)).start();
        let mut ledger = Ledger { rows: stored_rows(held), documents: (0..held).collect(), ended: false };
        ledger.serve_all(&mut server.accept());
        let ended = client.end();
        ended.succeeded();
        assert_eq!(ledger.rows, stored_rows(25));
        assert_eq!(ended.count(&format!("action: consulta_recibidas | result: success | cantidad: {held}")), 1);
    }
}

#[test]
fn rows_are_compared_in_their_stored_form() {
    let file = "\"Pérez, Ana\",\"La \"\"Ñ\"\"\",007,1999-03-17,8\nbad\n  Eva  ,Paz,2,1999-03-17,0\n";
    let stored = "1,\"Pérez, Ana\",\"La \"\"Ñ\"\"\",7,1999-03-17,8\r\n1,  Eva  ,Paz,2,1999-03-17,0\r\n";
    let server = PlayedServer::new();
    let client = draw(&server).bets(file).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(2, false, stored));
    assert_eq!(peer.message(), Message::End);
    peer.send(&confirmation(0));
    peer.message();
    peer.send(&winners(&[]));
    client.end().failed(3, &["1 rows"]);
}

#[test]
fn an_agency_that_has_ended_asks_for_its_winners_at_once() {
    let server = PlayedServer::new();
    let client = draw(&server).bets(agency_file(25)).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(25, true, &stored_rows(25)));
    assert_eq!(peer.message(), Message::Winners);
    peer.send(&winners(&[1]));
    client.end().succeeded();
}

#[test]
fn nothing_is_sent_if_the_server_has_other_bets() {
    let other = stored_rows(10).replace("7574", "7575");
    let cases = [
        (received(10, false, &other), "holds 10 bets", "not the first ones"),
        (received(26, false, &stored_rows(26)), "holds 26 bets", "has only 25"),
        (received(24, true, &stored_rows(24)), "holds 24 bets", "the file has more"),
        (received(0, true, ""), "holds 0 bets", "ended: true"),
        (received(u64::MAX, false, ""), "holds 18446744073709551615 bets", "has only 25"),
        (received(0, false, "x"), "holds 0 bets", "not the first ones"),
    ];
    for (answer, held, why) in cases {
        let server = PlayedServer::new();
        let client = draw(&server).bets(agency_file(25)).start();
        let mut peer = server.accept();
        peer.message();
        peer.send(&answer);
        assert_eq!(peer.rest(), b"");
        client.end().failed(1, &[held, why, "server --new-draw", "docker compose down", "nothing is sent"]);
    }
}

#[test]
fn a_server_without_message_6_is_recognised_by_its_answer() {
    let answers = [&[4][..], &[5, 0, 0, 0, 0], &[2, 0], &[2, 99], b"hola\n", &[6, 0, 0, 0, 1], &[0xff]];
    for answer in answers {
        let server = PlayedServer::new();
        let client = draw(&server).bets(agency_file(25)).start();
        let mut peer = server.accept();
        peer.message();
        peer.send(answer);
        assert_eq!(peer.rest(), b"");
        client.end().failed(1, &["the server does not know message 6: set resume to false"]);
    }
}

#[test]
fn the_count_of_another_agency_is_a_failure() {
    let server = PlayedServer::new();
    let client = draw(&server).bets(agency_file(25)).start();
    let mut peer = server.accept();
    peer.message();
    let mut answer = received(0, false, "");
    answer[4] = 2;
    peer.send(&answer);
    assert_eq!(peer.rest(), b"");
    client.end().failed(1, &["message 6", "the bets of agency 2"]);
}

#[test]
fn a_server_that_never_answers_message_6_is_reported() {
    let server = PlayedServer::new();
    let mut client = draw(&server).set("RETRY_TIMEOUT", "400ms").bets(agency_file(25)).start();
    let mut peer = server.accept();
    assert_eq!(peer.message(), Message::Received);
    drop((peer, server));
    client.line(RETRY);
    client.end().failed(1, &["gave up", "message 6 was never answered", "set resume to false"]);
}

#[test]
fn bets_that_the_server_has_lost_are_sent_again() {
    let server = PlayedServer::new();
    let client = draw(&server).bets(agency_file(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    for _ in 0..3 {
        ledger.serve(&mut peer);
    }
    drop(peer);
    let mut ledger = Ledger::default();
    ledger.serve_all(&mut server.accept());
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ledger.rows, stored_rows(25));
    assert_eq!(ended.count("WARNING  action: consulta_recibidas | result: in_progress"), 1);
}

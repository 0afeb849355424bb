//! Mode echo.

use crate::scene::*;
use crate::support::ClientSetup;
use crate::support::peer::{PlayedServer, Reserved};

#[test]
fn echo_sends_each_numbered_line_on_its_own_connection() {
    let server = PlayedServer::new();
    let client = ClientSetup::new("echo").server(server.address()).set("LOOP_AMOUNT", "3").start();
    for number in 1..=3 {
        let mut peer = server.accept();
        assert_eq!(peer.text(), format!("[CLIENT 1] Message N°{number}\n"));
        peer.send(format!("[CLIENT 1] Message N°{number}\n").as_bytes());
        assert_eq!(peer.rest(), b"");
    }
    let ended = client.end();
    ended.succeeded();
    for number in 1..=3 {
        let line = format!(
            "INFO     action: receive_message | result: success | client_id: 1 | msg: [CLIENT 1] Message N°{number}"
        );
        assert_eq!(ended.count(&line), 1, "{ended:?}");
    }
    assert_eq!(ended.position("action: loop_finished | result: success | client_id: 1") + 2, ended.log.len());
}

#[test]
fn echo_accepts_an_answer_in_pieces_or_ended_by_a_close() {
    let server = PlayedServer::new();
    let client = ClientSetup::new("echo").server(server.address()).set("LOOP_AMOUNT", "2").start();
    let mut peer = server.accept();
    peer.text();
    // Cut inside a letter.
    peer.send(b"[CLIENT 1] Message N\xc2");
    assert!(peer.is_quiet());
    peer.send(b"\xb01  \nand more");
    drop(peer);
    let mut peer = server.accept();
    peer.text();
    peer.send(b"two");
    drop(peer);
    let ended = client.end();
    ended.succeeded();
    assert_eq!((ended.count("| msg: [CLIENT 1] Message N°1"), ended.count("| msg: two")), (1, 1), "{ended:?}");
}

#[test]
fn echo_waits_for_a_server_that_does_not_listen_yet() {
    let reserved = Reserved::new();
    let mut client = ClientSetup::new("echo").server(reserved.address()).set("LOOP_AMOUNT", "1").start();
    client.line(RETRY);
    let server = reserved.listen();
    let mut peer = server.accept();
    peer.text();
    peer.send(b"late\n");
    client.end().succeeded();
}

#[test]
fn echo_sends_a_line_again_when_the_connection_breaks() {
    let server = PlayedServer::new();
    let client = ClientSetup::new("echo").server(server.address()).set("LOOP_AMOUNT", "1").start();
    server.accept().reset();
    drop(server.accept());
    let mut peer = server.accept();
    assert_eq!(peer.text(), "[CLIENT 1] Message N°1\n");
    peer.send(b"x\n");
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count(RETRY), 2, "{ended:?}");
}

#[test]
fn an_echo_that_never_ends_is_a_failure() {
    let server = PlayedServer::new();
    let client = ClientSetup::new("echo").server(server.address()).start();
    server.accept().send(&[b'x'; 2000]);
    client.end().failed(1, &["1024 bytes"]);
}

//! A refusal arrives before its connection is closed.

use std::io::Write;
use std::time::Instant;

use crate::scene::*;
use crate::support::*;

#[test]
fn a_refusal_arrives_even_after_a_megabyte_of_unread_bytes() {
    let server = Server::start(1);
    let junk = vec![9; 1 << 20];
    let long = [b'x'; 30];
    for (name, message, expected) in [
        ("an unknown type", vec![9], &[2, 6][..]),
        ("a text too long", batch(1, &[first(&long)]), &[2, 6]),
        ("an invalid bet", batch(1, &[born(b"x")]), &[2, 1]),
        ("an unknown agency", ask(2), &[2, 2]),
        ("a single bet", bet().single(1), &[0]),
        ("a single bet of an unknown agency", bet().single(2), &[2]),
        ("an untyped batch", untyped_batch(1, &[bet()]), &[0]),
        ("an echo", b"hola\n".to_vec(), b"hola\n"),
        ("an echo too long", vec![b'x'; 1025], b""),
    ] {
        // Everything is sent before the answer is read: an immediate close would reset the connection.
        let mut client = server.connect();
        client.send(&message).send(&junk);
        assert_eq!(client.rest(), expected, "{name}");
        client.finish();
        server.await_childless();
        assert!(client.0.take_error().unwrap().is_none(), "{name}: a reset came behind the answer");
    }
    server.stop();
}

#[test]
fn a_refusing_server_ends_its_stream_before_it_stops_reading() {
    let server = Server::start(1);
    eventually("the end of the stream comes while the server still reads", || {
        let mut client = server.connect();
        let begun = Instant::now();
        assert_eq!(client.send(&[9]).rest(), [2, 6]);
        begun.elapsed() < LINGER
    });
    server.stop();
}

#[test]
fn a_refused_client_that_keeps_sending_is_closed() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.send(&[9]);
    let begun = Instant::now();
    let junk = vec![9; 1 << 16];
    while client.0.write_all(&junk).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "its child reads for ever");
    }
    server.await_childless();
    server.stop();
}

#[test]
fn a_refused_client_that_never_closes_does_not_keep_its_child() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.send(&[9]);
    assert_eq!(client.rest(), [2, 6]);
    server.await_childless();
    drop(client);
    server.stop();
}

//! Limits and penalties of sources: clients that connect from several addresses of the loopback device.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance reaches #[test] functions only

mod support;

use support::*;

/// A message of an unknown type.
const GARBAGE: &[u8] = &[9];
const LIMIT: &str = "action: accept_connections | result: fail | ip: 127.0.0.2 | motivo: MAX_PER_SOURCE";
const IN_PENALTY: &str = "action: accept_connections | result: fail | ip: 127.0.0.2 | motivo: penalty of the source";

/// The answer to an echo from the address 127.0.0.`source`; nothing if the server closes the connection.
fn echo(server: &Server, source: u8) -> Vec<u8> {
    Conn::between(source, server.port()).echo_or_close()
}

#[test]
fn a_source_has_at_most_its_share_of_connections() {
    let server = Setup::new(3).set("MAX_PER_SOURCE", 2).start();
    let mut held = [1, 2].map(|agency| {
        let mut conn = Conn::between(2, server.port());
        conn.send(&count(agency)).tally(agency);
        conn
    });
    for _ in 0..5 {
        assert_eq!(echo(&server, 2), b"");
    }
    assert_eq!(echo(&server, 3), b"hola\n", "another source is served");
    eventually("only the seated connections have a child", || server.children().len() == 2);
    for (agency, conn) in (1..).zip(&mut held) {
        assert_eq!(conn.send(&batch_of(agency, 1, 1)).ack(), 0, "seated connections are not affected");
    }
    let [first, second] = held;
    drop(first);
    eventually("there is room for another one", || echo(&server, 2) == b"hola\n");
    drop(second);
    let log = server.stop();
    assert_eq!(log.matches(LIMIT).count(), 1, "{log}");
}

#[test]
fn thousands_of_connections_of_a_source_leave_no_count() {
    let server = Setup::new(1).set("MAX_PER_SOURCE", 1).start();
    for n in 0..1000 {
        let mut conn = None;
        eventually("the last connection is forgotten", || {
            let mut next = Conn::between(2, server.port());
            let served = next.echo_or_close() == b"hola\n";
            conn = Some(next);
            served
        });
        // Half of them end by a reset.
        conn.filter(|_| n % 2 == 0).into_iter().for_each(Conn::reset);
    }
    server.stop();
}

#[test]
fn garbage_has_a_penalty_that_ends_by_itself() {
    let server = Setup::new(3).set("PENALTY", "2s").start();
    let mut seated = Conn::between(2, server.port());
    seated.send(&count(1)).tally(1);
    assert_eq!(Conn::between(2, server.port()).send(GARBAGE).rest_or_reset(), [2, 6]);
    server.await_log("codigo: 6");
    eventually("the source is refused", || echo(&server, 2) == b"");
    assert_eq!(echo(&server, 3), b"hola\n", "another source is served");
    assert_eq!(seated.send(&batch_of(1, 1, 1)).ack(), 0, "a seated connection is not affected");
    eventually("the penalty has ended", || echo(&server, 2) == b"hola\n");
    let log = server.stop();
    assert_eq!(log.matches(IN_PENALTY).count(), 1, "{log}");
}

#[test]
fn honest_connections_have_no_penalty() {
    let server = Setup::new(3).set("PENALTY", "10m").start();
    let from = || Conn::between(2, server.port());
    assert_eq!(echo(&server, 2), b"hola\n");
    assert_eq!(from().send(&batch_of(1, 3, 1)).send(&end(1)).take(), [2, 0, 2, 0]);
    assert_eq!(from().send(&batch_of(9, 1, 1)).ack(), 2, "an unknown agency");
    assert_eq!(from().send(&batch(2, &[Bet { birthdate: b"1999-13-17", ..Bet::default() }])).ack(), 1);
    // Cut in the middle of a message.
    from().send(&batch_of(2, 3, 1)[..9]).finish().rest_or_reset();
    drop(from());
    server.await_childless();
    assert_eq!(echo(&server, 2), b"hola\n");
    server.stop();
}

#[test]
fn without_the_settings_no_source_is_refused() {
    let server = Server::start(3);
    let many: Vec<_> = (0..50).map(|_| Conn::between(2, server.port())).collect();
    assert_eq!(Conn::between(2, server.port()).send(GARBAGE).rest_or_reset(), [2, 6]);
    server.await_log("codigo: 6");
    assert_eq!(echo(&server, 2), b"hola\n");
    drop(many);
    server.await_childless();
    server.stop();
}

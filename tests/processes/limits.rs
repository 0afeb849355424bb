//! MAX_CONNECTIONS and the deadlines.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::scene::*;
use crate::support::*;

#[test]
fn max_connections_bounds_the_children_in_a_flood() {
    let setup = Setup::new(5).set("MAX_CONNECTIONS", 8).set("SERVER_LISTEN_BACKLOG", WIDE);
    let server = setup.set("SHUTDOWN_GRACE", FOREVER).start();
    let at_start = descriptors(server.pid());
    let mut seated: Vec<_> = (1..=5).map(|agency| server.claim(agency)).collect();
    let (mut flood, mut most) = (Vec::new(), 0);
    for _ in 0..60 {
        flood.push(server.connect());
        most = most.max(server.children().len());
    }
    eventually("all slots are taken", || server.children().len() == 8);
    eventually("the last connection is served", || server.connect().echo_or_close() == b"hola\n");
    most = most.max(server.children().len());
    assert!(most <= 8, "{most} children at once");
    for (agency, conn) in (1..=5).zip(&mut seated) {
        conn.send(&batch_of(agency, 1, 1));
        assert_eq!(conn.ack(), 0, "those with a seat are served");
    }
    drop((seated, flood));
    server.await_childless();
    server.await_descriptors(&at_start);
    server.stop();
}

#[test]
fn a_silent_client_does_not_delay_others() {
    let server = Server::start(1);
    let _silent = server.connect_and_find_child();
    let mut conn = server.connect();
    conn.deliver(1, 1, WINNING);
    assert_eq!(conn.winners(), Some(vec![0]));
    server.stop();
}

#[test]
fn silence_between_messages_is_closed_after_idle_timeout() {
    let server = Setup::new(1).set("IDLE_TIMEOUT", SHORT).start();
    let other = waiting(&server);
    let mut conn = server.connect();
    conn.send(&batch_of(1, 1, 1));
    assert_eq!(conn.ack(), 0);
    assert_eq!(conn.rest(), b"");
    assert_served_alone(&server, other);
    assert!(
        server.stop().contains("action: close_connection | result: success | ip: 127.0.0.1 | motivo: sin mensajes")
    );
}

#[test]
fn a_silent_new_connection_is_closed_after_message_timeout() {
    let server = Setup::new(1).set("MESSAGE_TIMEOUT", SHORT).start();
    let other = waiting(&server);
    assert_eq!(server.connect().rest(), b"");
    assert_served_alone(&server, other);
    server.stop();
}

#[test]
fn a_trickling_message_is_closed_after_message_timeout() {
    let server = Setup::new(1).set("MESSAGE_TIMEOUT", "1s").start();
    let other = waiting(&server);
    let began = Instant::now();
    let mut conn = server.connect();
    let message = batch_of(1, 10, 1);
    let sent = message.chunks(1).take_while(|byte| {
        thread::sleep(Duration::from_millis(20));
        conn.0.write_all(byte).is_ok()
    });
    let sent = sent.count();
    assert!(sent < message.len() && began.elapsed() >= Duration::from_secs(1), "{sent} bytes");
    server.await_log("action: apuesta_recibida | result: fail | cantidad: 10");
    assert_served_alone(&server, other);
    assert_eq!(server.rows().len(), 0);
    server.stop();
}

#[test]
fn the_deadline_of_a_later_message_begins_with_its_first_byte() {
    let server = Setup::new(1).set("MESSAGE_TIMEOUT", "2s").start();
    let other = waiting(&server);
    let mut conn = server.connect();
    for part in batch_of(1, 2, 1).chunks(30) {
        conn.send(part);
        server.await_read(&conn);
    }
    assert_eq!(conn.ack(), 0);
    thread::sleep(Duration::from_millis(2300));
    conn.send(&batch_of(1, 2, 1)[..30]);
    assert!(conn.is_silent_for(A_WHILE), "closed by the deadline of an earlier message");
    assert_eq!(conn.rest(), b"");
    server.await_log("action: apuesta_recibida | result: fail | cantidad: 2");
    assert_served_alone(&server, other);
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

#[test]
fn an_unread_answer_is_closed_after_message_timeout() {
    let (server, _conn) = streaming(Setup::new(1).set("MESSAGE_TIMEOUT", "1s"));
    server.await_childless();
    assert!(server.stop().contains("the client takes no byte of its answer"));
}

#[test]
fn a_slow_reader_is_served_as_long_as_it_reads() {
    let (server, mut conn) = streaming_to(Setup::new(1).set("MESSAGE_TIMEOUT", "1s"), Conn::narrow);
    let begun = Instant::now();
    // More than two message timeouts, and far fewer bytes than the kernel would buffer.
    while begun.elapsed() < Duration::from_secs(3) {
        conn.take::<16384>();
        thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(server.children().len(), 1, "{}", server.log());
    server.stop();
}

#[test]
fn a_query_that_waits_for_the_draw_has_no_deadline() {
    let server = Setup::new(1).set("IDLE_TIMEOUT", SHORT).set("MESSAGE_TIMEOUT", SHORT).start();
    let mut waiting = waiting(&server);
    assert!(waiting.is_silent_for(Duration::from_secs(1)));
    assert_served_alone(&server, waiting);
    server.stop();
}

//! Batches that a client has under way are stored as one group. Each of them is answered, and is stored whole or not at all.

use crate::support::books::Books;
use crate::scene::*;
use crate::support::*;

/// The number of commits so far.
fn commits(server: &Server) -> u64 {
    Books::read(&server.path("books")).head().0.seq
}

/// Sends messages that the child receives together: it is stopped until all have arrived.
#[track_caller]
fn send_together(server: &Server, conn: &mut Conn, child: i32, messages: &[Vec<u8>]) {
    let bytes = messages.concat();
    stop_process(child);
    conn.send(&bytes);
    let unread = || server.end_of(conn).map_or(0, |end| end.unread);
    eventually("all has arrived", || unread() == bytes.len() as u64);
    send_signal(child, "CONT");
}

/// A batch of so many bets, the first with this document.
fn of(first: u32, count: u32) -> Vec<u8> {
    let bets: Vec<_> = (first..first + count).map(|document| Bet { document, ..bet() }).collect();
    batch(1, &bets)
}

fn documents(server: &Server) -> Vec<u32> {
    server.rows().iter().map(|row| row.split(',').nth(3).unwrap().parse().unwrap()).collect()
}

#[test]
fn batches_that_have_arrived_are_one_commit() {
    let server = Setup::new(1).set("LOGGING_LEVEL", "INFO").start();
    let (mut conn, child) = server.claim_and_find_child(1);
    let before = commits(&server);
    let messages: Vec<_> = (1..=8).map(|count| of(10 * count, count)).collect();
    send_together(&server, &mut conn, child, &messages);
    (0..8).for_each(|_| assert_eq!(conn.ack(), 0));
    assert_eq!(commits(&server), before + 1);
    assert!(documents(&server).into_iter().eq((1..=8).flat_map(|count| 10 * count..11 * count)));
    let log = server.stop();
    let lines: Vec<_> = events(&log).into_iter().filter(|line| line.contains("apuesta_recibida")).collect();
    let counts = lines.iter().map(|line| line.rsplit(' ').next().unwrap().to_owned());
    assert!(counts.eq((1..=8).map(|count| count.to_string())), "{lines:?}");
}

#[test]
fn a_refused_batch_comes_after_its_group() {
    let server = Server::start(1);
    let (mut conn, child) = server.claim_and_find_child(1);
    let bad = batch(1, &[bet(), Bet { birthdate: b"2000-02-31", ..bet() }]);
    send_together(&server, &mut conn, child, &[of(1, 2), of(3, 1), bad, of(9, 1)]);
    assert_eq!(conn.rest(), [2, 0, 2, 0, 2, 1]);
    assert_eq!(documents(&server), [1, 2, 3]);
    server.stop();
}

#[test]
fn other_messages_are_answered_between_groups() {
    let server = Server::start(1);
    let (mut conn, child) = server.claim_and_find_child(1);
    let before = commits(&server);
    send_together(&server, &mut conn, child, &[of(1, 2), of(3, 1), count(1), of(4, 1), end(1), of(5, 1)]);
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    let (bets, has_ended, _) = conn.tally(1);
    assert_eq!((bets, has_ended), (3, false));
    assert_eq!([conn.ack(), conn.ack(), conn.ack()], [0, 0, 3]);
    assert_eq!((conn.rest(), documents(&server)), (vec![], vec![1, 2, 3, 4]));
    assert!(commits(&server) >= before + 2);
    server.stop();
}

//! Another process holds the data lock.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn a_batch_waits_for_the_data_lock_then_gets_code_4() {
    let server = Server::start(2);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 1, 1)).ack(), 0);
    let lock = File::open(server.path("books")).unwrap();
    lock.lock().unwrap();
    assert!(client.send(&batch_of(1, 2, 1)).is_silent_for(QUIET));
    lock.unlock().unwrap();
    assert_eq!(client.ack(), 0);
    assert_eq!(server.rows().len(), 3);

    lock.lock().unwrap();
    let begun = Instant::now();
    client.send(&batch_of(1, 4, 1));
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n", "others are served");
    assert_eq!(client.rest(), [2, 4]);
    assert!(begun.elapsed() > Duration::from_secs(1), "it waited");
    let log = server.log();
    assert!(log.lines().any(|line| line.contains("cantidad: 4 | ") && line.contains("books is locked")), "{log}");
    lock.unlock().unwrap();
    server.await_childless();
    assert_eq!(server.rows().len(), 3);
    assert_eq!(server.store(&batch_of(1, 4, 1)), 0);
    server.stop();
}

#[test]
fn a_taken_data_lock_does_not_delay_a_stop_or_a_start() {
    let server = Server::start(1);
    let lock = File::open(server.path("books")).unwrap();
    lock.lock().unwrap();
    let mut client = server.connect();
    assert!(client.send(&batch_of(1, 1, 1)).is_silent_for(QUIET));
    let (_, setup) = server.stop_and_keep();
    assert_eq!(client.rest(), [2, 4]);
    // A start makes new books, which nobody has locked.
    let server = setup.start();
    assert_eq!(server.store(&batch_of(1, 1, 1)), 0);
    server.stop();
}

//! Connections in certain states, and checks of the server's end.

use std::thread;
use std::time::Duration;

use crate::support::*;

/// A deadline that the test waits for.
pub const SHORT: &str = "300ms";
/// Time on a busy machine for something that is promised within a second.
pub const SOON: Duration = Duration::from_secs(5);
/// A backlog for as many connections as a test opens at once.
pub const WIDE: u32 = 4096;

/// Winners of the one agency in [`streaming`].
pub const WINNERS: u32 = 20_000;
/// Bytes of the answer with these winners.
pub const ANSWER_LEN: usize = 1 + 4 + 4 * WINNERS as usize;

/// A server in the middle of an answer that its client does not read and that exceeds all buffers.
pub fn streaming(setup: Setup) -> (Server, Conn) {
    streaming_to(setup, Conn::to)
}

pub fn streaming_to(setup: Setup, connect: impl Fn(u16) -> Conn) -> (Server, Conn) {
    write_file(&setup.path("bets.csv"), rows(1, WINNERS, WINNING));
    let server = setup.start();
    let mut ending = server.connect();
    ending.send(&end(1)).send(&ask(1));
    assert_eq!(ending.ack(), 0);
    assert_eq!(ending.winners().map(|winners| winners.len()), Some(WINNERS as usize));
    drop(ending);
    server.await_childless();
    let mut conn = connect(server.port());
    conn.send(&ask(1).repeat(200));
    let is_stuck = || server.end_of(&conn).is_some_and(|end| end.unsent > 32 * 1024);
    eventually("the answer is stuck", is_stuck);
    (server, conn)
}

pub fn on_the_files_of(server: &Server, setup: Setup) -> Setup {
    setup.set("STORAGE_FILEPATH", server.bets_path().display())
}

/// Processes that should end with their parent. After a failed test, dropping this ends them.
pub struct Doomed(pub Vec<i32>);

impl Drop for Doomed {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.iter().filter(|&&pid| is_alive(pid)).for_each(|&pid| send_signal(pid, "KILL"));
        }
    }
}

/// A connection that waits for the draw, without a deadline.
pub fn waiting(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.send(&ask(1));
    server.await_read(&conn);
    conn
}

/// Checks that only this connection is left, and that it is answered once its agency, the only one, has ended.
#[track_caller]
pub fn assert_served_alone(server: &Server, mut waiting: Conn) {
    eventually("the other one is left", || server.children().len() == 1);
    let mut ending = server.connect();
    ending.send(&end(1));
    assert_eq!((ending.ack(), waiting.winners()), (0, Some(vec![])));
}

/// Sends SIGTERM and checks an orderly end without orphans. Returns the log.
#[track_caller]
pub fn stop_and_look_for_orphans(server: Server, rows: usize) -> String {
    let children = server.children();
    server.signal("TERM");
    await_end(server, &children, rows)
}

/// Waits for the end of a server that has got SIGTERM and has to wait for [`SHORT`] at most. Returns the log.
#[track_caller]
pub fn await_end(mut server: Server, children: &[i32], rows: usize) -> String {
    assert_eq!(server.wait_within(SOON).code(), Some(0), "{}", server.log());
    assert!(children.iter().all(|&pid| !is_alive(pid)), "orphans");
    assert_eq!(server.rows().len(), rows);
    let log = server.log();
    assert_closings(&log);
    log
}

/// The log has a line for each closed resource of the parent, and the right last line.
pub fn assert_closings(log: &str) {
    for action in ["close_listener", "close_links", "close_storage"] {
        assert_eq!(log.matches(&format!("action: {action} | result: success")).count(), 1, "{log}");
    }
    assert!(log.trim_end().ends_with("action: exit | result: success"), "{log}");
    assert!(!log.contains("panic"), "{log}");
}

pub fn connect_and_close(server: &Server, times: usize) {
    (0..times).for_each(|_| drop(server.connect()));
    // Connections are accepted in order, so this is the last one.
    assert_eq!(server.connect().send(b"the last\n").rest(), b"the last\n");
    server.await_childless();
}

pub fn assert_still_serves(server: &Server) {
    let mut conn = server.connect();
    conn.send(&batch_of(1, 1, 1));
    assert_eq!(conn.ack(), 0);
}

//! A process that stands still while it holds the data lock.

use std::fs::{self, File};
use std::thread;
use std::time::Duration;

use crate::support::strace::Strace;
use crate::support::*;

/// The file that carries the data lock.
const DATA_LOCK: &str = "books";
/// Bets of agency 1 before the fault, and in the batch that the fault interrupts.
const STORED: u32 = 2;
const INTERRUPTED: u32 = 5;

/// Whether `/proc/locks` names the holders of locks here; if not, that has been reported.
fn locks_are_listed() -> bool {
    let scratch = tempfile::tempfile().unwrap();
    scratch.lock().unwrap();
    let pid = format!(" {} ", std::process::id());
    let listed = fs::read_to_string("/proc/locks").is_ok_and(|list| list.contains(&pid));
    if !listed {
        skipped(&this_test(), "/proc/locks lists no locks here");
    }
    listed
}

/// How many stored bets `agency` has.
fn stored(server: &Server, agency: u32) -> usize {
    server.rows().iter().filter(|row| row.starts_with(&format!("{agency},"))).count()
}

/// A child stops at the first `call` on `file` during a batch. Afterwards its batch counts or not, as `counts` states.
#[track_caller]
fn a_stopped_child_is_killed(call: &str, file: &str, counts: bool) {
    if !locks_are_listed() {
        return;
    }
    let server = Server::start(3);
    let (mut victim, child) = server.claim_and_find_child(1);
    assert_eq!(victim.send(&batch_of(1, STORED, 1)).ack(), 0);
    let (file, fault) = (server.path(file), format!("inject={call}:signal=STOP:when=1"));
    let Some(strace) = Strace::attach(child, &["-P", path(&file), "-e", &fault]) else { return };
    victim.send(&batch_of(1, INTERRUPTED, 1));
    strace.leave_stopped(child);

    assert_eq!(server.store(&batch_of(2, 3, 1)), 0, "{}", server.log());
    assert_eq!(victim.rest_or_reset(), b"");
    let line = format!("WARNING  action: kill_child | result: success | pid: {child} | agencia: 1 | archivo: ");
    assert_eq!(count_events(&server.log(), &line), 1, "{}", server.log());

    let held = STORED + if counts { INTERRUPTED } else { 0 };
    let mut retry = server.connect();
    assert_eq!(retry.send(&count(1)).tally(1).0, u64::from(held));
    assert_eq!(retry.send(&batch_of(1, 4, 1)).ack(), 0);
    assert_eq!([1, 2].map(|agency| stored(&server, agency)), [held as usize + 4, 3]);
    drop(retry);
    server.await_childless();
    server.stop();
}

#[test]
fn a_child_stopped_before_its_commit_is_killed_and_stores_none() {
    a_stopped_child_is_killed("write", "bets.csv", false);
}

#[test]
fn a_child_stopped_after_its_commit_is_killed_and_stores_all() {
    a_stopped_child_is_killed("pwrite64", DATA_LOCK, true);
}

#[test]
fn a_stopped_draw_child_is_killed_and_replaced() {
    if !locks_are_listed() {
        return;
    }
    let server = Server::start(1);
    let (mut conn, session) = server.claim_and_find_child(1);
    // Only processes that the parent forks from now on are stopped: the draw child.
    let Some(strace) = Strace::attach(server.pid(), &["-f", "-e", "inject=flock:signal=STOP:when=1"]) else { return };
    assert_eq!(conn.send(&batch_of(1, 3, WINNING)).send(&end(1)).ack(), 0);
    assert_eq!(conn.ack(), 0);
    strace.await_stop();
    let draw = server.children().into_iter().find(|&child| child != session).unwrap();
    strace.leave_stopped(draw);

    // The draw child holds the lock, so that the repeated end waits for it.
    assert_eq!(conn.send(&end(1)).ack(), 0);
    let line = format!("WARNING  action: kill_child | result: success | pid: {draw} | agencia: - | archivo: ");
    assert_eq!(count_events(&server.log(), &line), 1, "{}", server.log());
    assert_eq!(conn.send(&ask(1)).winners(), Some(vec![0, 1, 2]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

/// The draw child has no link. Its failure is the report.
#[test]
fn a_stopped_child_that_only_the_draw_waits_for_is_killed() {
    if !locks_are_listed() {
        return;
    }
    let server = Server::start(1);
    let (mut conn, session) = server.claim_and_find_child(1);
    let draw = server.path("draw");
    let full = ["-f", "-P", path(&draw), "-e", "inject=pwrite64:error=ENOSPC"];
    let Some(full) = Strace::attach(server.pid(), &full) else { return };
    conn.send(&batch_of(1, 3, WINNING)).send(&end(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    // After the second failure, the parent has looked at the lock because of the first one: the lock was free.
    let failure = "action: sorteo | result: in_progress | error: the process that held it ended";
    eventually("two draws fail", || server.log().matches(failure).count() >= 2);
    let Some(strace) = Strace::attach(session, &["-e", "inject=flock:signal=STOP:when=1"]) else { return };
    conn.send(&end(1));
    strace.leave_stopped(session);
    drop(full);

    server.await_log(SORTEO);
    assert_eq!(conn.rest_or_reset(), b"");
    let line = format!("WARNING  action: kill_child | result: success | pid: {session} | agencia: 1 | archivo: ");
    assert_eq!(count_events(&server.log(), &line), 1, "{}", server.log());
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1, 2]));
    let log = server.stop();
    assert!(!log.contains("data_lock"), "the lock was free after the first failure\n{log}");
}

#[test]
fn another_programs_holder_is_named_and_not_killed() {
    if !locks_are_listed() {
        return;
    }
    let server = Server::start(2);
    let (mut waiting, child) = server.claim_and_find_child(1);
    let lock = File::open(server.path(DATA_LOCK)).unwrap();
    lock.lock().unwrap();
    assert_eq!(waiting.send(&batch_of(1, 2, 1)).rest(), [2, 4]);
    let (file, pid) = (server.path(DATA_LOCK), std::process::id());
    let line = format!("ERROR    action: data_lock | result: fail | archivo: {} | pid: {pid} | ", path(&file));
    let log = server.log();
    assert_eq!((count_events(&log, &line), log.matches("kill_child").count()), (1, 0), "{log}");
    assert!(!log.contains(&format!("action: child_exit | result: fail | pid: {child} ")), "{log}");

    lock.unlock().unwrap();
    drop(waiting);
    assert_eq!(server.store(&batch_of(1, 2, 1)), 0);
    assert_eq!(stored(&server, 1), 2);
    server.stop();
}

#[test]
fn a_lock_held_for_less_than_two_looks_is_not_reported() {
    let server = Server::start(2);
    let mut waiting = server.claim(1);
    let lock = File::open(server.path(DATA_LOCK)).unwrap();
    lock.lock().unwrap();
    // Longer than the wait before the report, shorter than the second look.
    let longer_than_the_report = Duration::from_millis(1200);
    assert!(waiting.send(&batch_of(1, 2, 1)).is_silent_for(longer_than_the_report));
    lock.unlock().unwrap();
    assert_eq!(waiting.ack(), 0);
    let mut again = server.claim(2);
    assert_eq!(again.send(&batch_of(2, 1, 1)).ack(), 0);
    thread::sleep(longer_than_the_report);
    let log = server.stop();
    assert!(!log.contains("data_lock") && !log.contains("kill_child"), "{log}");
}

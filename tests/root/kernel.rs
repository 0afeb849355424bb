//! Kernels and containers that hide `/proc`, or the id of the boot.

use std::fs::File;

use crate::own::can;
use crate::support::strace::Strace;
use crate::support::*;

/// A server for one agency in a mount namespace of its own, after `hide` has run there.
fn hidden(hide: &str) -> Option<Server> {
    hidden_for(1, hide)
}

fn hidden_for(agencies: u32, hide: &str) -> Option<Server> {
    let command = format!("{hide} && exec \"$@\"");
    let words = ["unshare", "--mount", "sh", "-c", &command, "sh"];
    can("unshare", &["--mount", "sh", "-c", hide]).then(|| Setup::new(agencies).under(&words).start())
}

fn serves(server: Server) {
    assert_eq!(server.store(&batch_of(1, 2, 7574)), 0);
    assert_eq!(server.store(&end(1)), 0);
    let log = server.stop();
    assert!(log.lines().last().unwrap().contains("action: exit | result: success"), "{log}");
}

#[test]
fn without_a_boot_id_the_server_serves_and_warns() {
    let Some(server) = hidden("mount --bind /dev/null /proc/sys/kernel/random/boot_id") else { return };
    assert_eq!(server.log().matches(" WARNING ").count(), 1, "{}", server.log());
    assert!(server.log().contains("action: boot_id | result: in_progress"), "{}", server.log());
    serves(server);
}

#[test]
fn without_proc_the_server_serves_and_warns() {
    let Some(server) = hidden("mount -t tmpfs none /proc") else { return };
    assert!(server.log().contains("action: boot_id | result: in_progress"), "{}", server.log());
    serves(server);
}

#[test]
fn without_a_boot_id_a_restart_counts_the_valid_rows() {
    let hide = "mount --bind /dev/null /proc/sys/kernel/random/boot_id";
    let Some(server) = hidden(hide) else { return };
    assert_eq!(server.store(&batch_of(1, 3, 1)), 0);
    let server = server.kill().start();
    assert_eq!(server.tally(1).0, 3);
    server.stop();
}

/// Hides the list of locks, so that the parent cannot learn who holds the data lock.
const HIDE_LOCKS: &str = "mount --bind /dev/null /proc/locks";

#[test]
fn with_hidden_locks_a_stopped_holder_continues() {
    let Some(server) = hidden_for(2, HIDE_LOCKS) else { return };
    let (mut stopped, child) = server.claim_and_find_child(1);
    let bets = server.bets_path();
    let stop = ["-P", path(&bets), "-e", "inject=write:signal=STOP:when=1"];
    let Some(strace) = Strace::attach(child, &stop) else { return };
    stopped.send(&batch_of(1, 5, 1));
    strace.leave_stopped(child);
    assert_eq!(server.store(&batch_of(2, 3, 1)), 0);
    assert_eq!(stopped.ack(), 0);
    let log = server.log();
    assert_eq!(count_events(&log, "WARNING  action: data_lock | result: in_progress | archivo: "), 1, "{log}");
    assert!(!log.contains("kill_child") && !log.contains("holder unknown"), "{log}");
    assert_eq!(server.rows().len(), 8);
    drop(stopped);
    server.await_childless();
    server.stop();
}

#[test]
fn with_hidden_locks_another_programs_holder_is_unknown() {
    let Some(server) = hidden(HIDE_LOCKS) else { return };
    let lock = File::open(server.path("books")).unwrap();
    lock.lock().unwrap();
    assert_eq!(server.connect().send(&batch_of(1, 2, 1)).rest(), [2, 4]);
    let log = server.log();
    let line = "ERROR    action: data_lock | result: fail | archivo: ";
    assert!(count_events(&log, line) == 1 && log.contains("error: holder unknown"), "{log}");
    lock.unlock().unwrap();
    eventually("the batch is stored", || server.store(&batch_of(1, 2, 1)) == 0);
    server.stop();
}

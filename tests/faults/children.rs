//! Children that cannot be started, watched or reached.

use std::io::Write;

use crate::scene::*;
use crate::strace::*;
use crate::support::*;

#[test]
fn an_end_that_was_recorded_but_not_reported_counts() {
    let server = Server::start(1);
    let mut conn = server.connect();
    assert_eq!(conn.send(&batch_of(1, 1, WINNING)).ack(), 0);
    // The next sendto(2) of the child is its report.
    let fault = ["-e", "inject=sendto:error=ENOBUFS:when=1"];
    let Some(_strace) = Strace::attach(server.children()[0], &fault) else { return };
    assert_eq!(conn.send(&end(1)).rest_or_reset(), b"");
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0]), "the draw was held");
    assert!(server.connect().send(&count(1)).tally(1).1);
    server.stop();
}

#[test]
fn a_failed_fork_affects_only_its_client_and_is_logged_once() {
    let server = Server::start(2);
    let at_start = descriptors(server.pid());
    let fail = ["-e", "inject=clone,?clone3,?fork,?vfork:error=EAGAIN"];
    let Some(strace) = Strace::attach(server.pid(), &fail) else { return };
    for _ in 0..3 {
        assert_eq!(server.connect().echo_or_close(), b"");
    }
    assert_idle(&[server.pid()]);
    drop(strace);
    server.await_descriptors(&at_start);
    assert_eq!(server.connect().echo_or_close(), b"hola\n");
    let log = server.stop();
    assert_eq!(log.matches("action: accept_connections | result: fail | llamada: fork").count(), 1, "{log}");
}

#[test]
fn an_unwatchable_child_affects_only_its_own_client() {
    let server = Server::start(2);
    let Some(strace) = Strace::attach(server.pid(), &["-e", "inject=epoll_ctl:error=ENOMEM:when=1"]) else { return };
    let mut conn = server.connect();
    // The connection may be closed already.
    let _ = conn.0.write_all(&count(1));
    assert_eq!(conn.rest_or_reset(), b"");
    server.await_childless();
    drop(strace);
    assert_eq!(server.tally(1), (0, false, 0));
    server.await_childless();
    server.stop();
}

#[test]
fn a_child_that_misses_its_grant_loses_the_claim() {
    let server = Server::start(2);
    let Some(strace) = Strace::attach(server.pid(), &["-e", "inject=sendto:error=ENOBUFS:when=1"]) else { return };
    assert_eq!(server.connect().send(&count(1)).rest_or_reset(), b"");
    // A SIGCHLD can get lost if strace detaches at that moment.
    server.await_childless();
    drop(strace);
    assert_eq!(server.tally(1), (0, false, 0));
    server.await_childless();
    assert_eq!(server.stop().matches("action: link | result: fail").count(), 1);
}

#[test]
fn a_child_that_misses_the_draw_ends_and_its_client_asks_again() {
    let server = Server::start(1);
    let (mut victim, _) = server.claim_and_find_child(1);
    victim.send(&end(1));
    assert_eq!(victim.ack(), 0);
    let Some(strace) = Strace::attach(server.pid(), &["-e", "inject=sendto:error=ENOBUFS:when=1"]) else { return };
    assert_eq!(victim.send(&ask(1)).rest_or_reset(), b"");
    server.await_childless();
    drop(strace);
    let mut retry = server.connect();
    retry.send(&ask(1));
    assert_eq!(retry.winners(), Some(vec![]));
    server.stop();
}

#[test]
fn a_draw_is_held_later_if_its_fork_fails() {
    let server = Server::start(1);
    let (mut conn, _) = server.claim_and_find_child(1);
    let fail = ["-e", "inject=clone,?clone3,?fork,?vfork:error=EAGAIN"];
    let Some(strace) = Strace::attach(server.pid(), &fail) else { return };
    conn.send(&end(1)).send(&ask(1));
    assert_eq!(conn.ack(), 0);
    server.await_log("action: sorteo | result: in_progress");
    drop(strace);
    assert_eq!(conn.winners(), Some(vec![]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

/// Root is exempt from RLIMIT_NPROC, so the server runs as a user without other processes.
#[test]
fn at_the_process_limit_clients_are_refused_or_served_later() {
    let this = "RLIMIT_NPROC";
    if !am_root() || !has_program("setpriv") || !has_program("prlimit") {
        return skipped(
            this,
            "needs prlimit, root and setpriv, for a user without other processes; EAGAIN from fork(2) is tested by strace",
        );
    }
    let server = as_nobody(Setup::new(2).under(&["prlimit", "--nproc=3:"]), 1).start();
    let (mut first, mut second) = (server.connect(), server.connect());
    eventually("two are served", || server.children().len() == 2);
    let mut others: Vec<_> = (0..5).map(|_| server.connect()).collect();
    server.await_log("action: accept_connections | result: fail | llamada: fork");
    assert_eq!(server.children().len(), 2);
    assert_idle(&[server.pid()]);
    assert_eq!(first.echo_or_close(), b"hola\n");
    drop(first);
    assert_eq!(second.echo_or_close(), b"hola\n");
    drop(second);
    others.iter_mut().for_each(|conn| assert!([&b"hola\n"[..], b""].contains(&&*conn.echo_or_close())));
    drop(others);
    eventually("a client is served again", || server.connect().echo_or_close() == b"hola\n");
    server.stop();
}

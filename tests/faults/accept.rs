//! Descriptors run out, and accept(2) fails.

use crate::scene::*;
use crate::strace::*;
use crate::support::*;

#[test]
fn without_descriptors_clients_wait_and_the_server_stays_idle() {
    let server = Setup::new(2).set("SERVER_LISTEN_BACKLOG", 100).start();
    let at_start = descriptors(server.pid());
    if !leave_descriptors(server.pid(), 0) {
        return;
    }
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    server.await_log("action: accept_connections | result: fail | llamada: accept");
    assert_idle(&[server.pid()]);
    assert_eq!(server.children(), []);
    restore_descriptors(server.pid());
    assert!(clients.iter_mut().all(|conn| conn.echo_or_close() == b"hola\n"));
    drop(clients);
    server.await_childless();
    server.await_descriptors(&at_start);
    assert_eq!(server.stop().matches("action: accept_connections | result: fail").count(), 1);
}

#[test]
fn too_few_descriptors_for_a_child_affect_only_its_client() {
    let server = Setup::new(2).set("SERVER_LISTEN_BACKLOG", 100).start();
    let at_start = descriptors(server.pid());
    // 1: only the connection; 2: also one end of its link; 3: both ends; 4: both, and perhaps enough for the child.
    for left in 1..=4 {
        if !leave_descriptors(server.pid(), left) {
            return;
        }
        let answers: Vec<_> = (0..2).map(|_| server.connect().echo_or_close()).collect();
        assert!(
            answers.iter().all(|answer| answer == b"" || left > 2 && answer == b"hola\n"),
            "{left} left: {answers:?}"
        );
        assert_idle(&[server.pid()]);
        restore_descriptors(server.pid());
        assert_eq!(server.connect().echo_or_close(), b"hola\n");
        server.await_childless();
        server.await_descriptors(&at_start);
    }
    server.stop();
}

/// Limits the process to `left` more descriptors; false if this machine cannot do that, which has been reported.
fn leave_descriptors(pid: i32, left: usize) -> bool {
    let open = descriptors(pid);
    let limit_at = (0..).filter(|fd| !open.contains_key(fd)).nth(left).unwrap();
    limit(pid, &format!("--nofile={limit_at}:"))
}

fn restore_descriptors(pid: i32) {
    // The limit that the server sets at its start by default.
    assert!(limit(pid, "--nofile=1056:"));
}

#[test]
fn after_any_accept_error_the_next_client_is_served() {
    let server = Server::start(2);
    for error in ["ECONNABORTED", "EPROTO", "EINTR", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EHOSTUNREACH"] {
        let once = ["-e", &format!("inject=accept4:error={error}:when=1")];
        let Some(strace) = Strace::attach(server.pid(), &once) else { return };
        assert_eq!(server.connect().echo_or_close(), b"hola\n", "{error}");
        assert_injected(strace.trace(), "accept4");
    }
    server.stop();
}

#[test]
fn repeated_accept_errors_are_logged_once_without_spinning() {
    for error in ["ENFILE", "EPERM"] {
        let server = Server::start(2);
        let goes_on = ["-e", &format!("inject=accept4:error={error}")];
        let Some(strace) = Strace::attach(server.pid(), &goes_on) else { return };
        let mut conn = server.connect();
        server.await_log("action: accept_connections | result: fail | llamada: accept");
        assert_idle(&[server.pid()]);
        drop(strace);
        assert_eq!(conn.echo_or_close(), b"hola\n");
        assert_eq!(server.stop().matches("action: accept_connections | result: fail").count(), 1);
    }
}

#[test]
fn endless_accept_errors_do_not_stop_other_sessions() {
    let server = Server::start(2);
    let mut conn = server.connect();
    assert_eq!(conn.send(&batch_of(1, 1, 1)).ack(), 0);
    let Some(_strace) = Strace::attach(server.pid(), &["-e", "inject=accept4:error=EPROTO"]) else { return };
    let _failing = server.connect();
    assert_eq!(conn.send(&batch_of(1, 1, 1)).ack(), 0);
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

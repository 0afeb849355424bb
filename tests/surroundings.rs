//! The surroundings of the programs: a missing syslog daemon, signals of a terminal, limits of the user, time zones. No
//! program ends without a word, and none leaves anything behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Output;

use nix::fcntl::{FcntlArg, fcntl};
use support::*;

// ---- a log that nobody receives ----------------------------------------------------------------------------------

/// A server that logs to a socket only and cannot use its port: what it prints, and its exit code.
fn failed_start(setup: Setup) -> Output {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    setup.set("LOG_TARGET", "syslog").set("SERVER_PORT", port).command().output().unwrap()
}

#[test]
fn a_failed_start_without_a_daemon_is_on_standard_error() {
    let setup = Setup::new(1);
    let missing = setup.path("missing");
    let output = failed_start(setup.set("SYSLOG_SOCKET", missing.display()));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), errors.lines().count()), (Some(1), 0, 1), "{errors}");
    assert!(errors.contains("CRITICAL action: exit | result: fail | error: "), "{errors}");
}

#[test]
fn a_failed_start_is_on_standard_error_and_in_the_syslog() {
    let setup = Setup::new(1);
    let path = setup.path("syslog");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let output = failed_start(setup.set("SYSLOG_SOCKET", path.display()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("action: exit | result: fail"));
    daemon.set_nonblocking(true).unwrap();
    let mut packet = [0; 8192];
    let packets: Vec<_> =
        std::iter::from_fn(|| daemon.recv(&mut packet).ok().map(|len| packet[..len].to_vec())).collect();
    assert!(String::from_utf8_lossy(packets.last().unwrap()).contains("action: exit | result: fail"));
}

#[test]
fn a_syslog_socket_that_takes_no_line_is_refused() {
    let setup = Setup::new(1).set("LOG_TARGET", "both");
    let stream = setup.path("stream");
    let _listener = UnixListener::bind(&stream).unwrap();
    let long = setup.path(&"x".repeat(200));
    for (socket, why) in [(&stream, "it is not a datagram socket"), (&long, "")] {
        let mut command = setup.command();
        let output = command.env("SYSLOG_SOCKET", socket).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len(), errors.lines().count()), (Some(2), 0, 1), "{errors}");
        assert!(errors.starts_with(&format!("server: the syslog socket {socket:?} cannot be used: {why}")), "{errors}");
    }
}

// ---- the pipes of a user -----------------------------------------------------------------------------------------

#[test]
fn only_the_server_asks_for_a_larger_pipe() {
    let (reader, writer) = io::pipe().unwrap();
    let before = fcntl(&reader, FcntlArg::F_GETPIPE_SZ).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut command = clean_command::<&str>(&[], client_binary(), dir.path());
    command.envs([("CLI_ID", "1"), ("CLI_MODE", "echo"), ("CLI_LOOP_AMOUNT", "0")]);
    assert!(command.stdout(writer.try_clone().unwrap()).status().unwrap().success());
    assert_eq!(fcntl(&reader, FcntlArg::F_GETPIPE_SZ).unwrap(), before);
    let setup = Setup::new(1);
    let mut server = setup.command().stdout(writer).spawn().unwrap();
    let is_larger = || fcntl(&reader, FcntlArg::F_GETPIPE_SZ).unwrap() > before;
    let is_larger = poll_until(PATIENCE, || is_larger().then_some(()));
    send_signal(server.id().try_into().unwrap(), "TERM");
    assert!(server.wait().unwrap().success() && is_larger.is_some());
}

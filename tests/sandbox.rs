//! The sandbox of the server's processes, as a stranger sees it: in `/proc`, and by the service.
//!
//! `ipc/tests/processes/sandbox.rs` tries each escape from it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use ipc::sandbox::Sandbox;
use support::strace::Strace;
use support::*;

/// The number that wins.
const WINNING: u32 = 7574;
/// A server that runs under strace with this fault in all its processes. strace runs as another process beside it.
const TRACED: [&str; 6] = ["strace", "-D", "-f", "-qq", "-o", "strace.log"];

/// A setting with which the server has the whole sandbox; `None` if this kernel lacks a part, which is reported.
fn required(agencies: u32) -> Option<Setup> {
    let (_, missing) = Sandbox::probe();
    if !missing.is_empty() {
        skipped(&this_test(), &format!("the kernel lacks {}", missing.join(", ")));
    }
    missing.is_empty().then(|| Setup::new(agencies).set("SANDBOX", "require"))
}

/// The value of a line of `/proc/PID/status`; 0 if the kernel does not have this line.
fn status(pid: i32, name: &str) -> u32 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

/// Filters of system calls, and whether new privileges are impossible.
fn filters(pid: i32) -> [u32; 3] {
    ["Seccomp", "Seccomp_filters", "NoNewPrivs"].map(|name| status(pid, name))
}

/// A server under strace with `fault`; `None` if that is impossible here, which is reported.
fn with_fault(setup: Setup, fault: &str) -> Option<Setup> {
    let inject = format!("inject={fault}");
    let calls = format!("trace={}", fault.split(':').next().unwrap());
    let words: Vec<_> = TRACED.into_iter().chain(["-e", &calls, "-e", &inject]).collect();
    let directory = tempfile::tempdir().unwrap();
    let probe: Vec<_> = words.iter().map(|word| if *word == "strace.log" { "/dev/null" } else { word }).collect();
    let tried = clean_command(&probe, "/bin/true".into(), directory.path()).output();
    let works = tried.as_ref().is_ok_and(|output| output.status.success() && output.stderr.is_empty());
    if !works {
        skipped(&this_test(), &format!("strace: {tried:?}"));
    }
    works.then(|| setup.under(&words))
}

/// A lottery of one agency, with each kind of message.
fn play(server: &Server) {
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    let bet = Bet { number: WINNING, ..Bet::default() };
    assert_eq!(server.connect().send(&bet.single(1)).rest(), [0]);
    let mut conn = server.connect();
    conn.send(&count(1)).tally(1);
    conn.send(&batch_of(1, 3, 1)).send(&batch_of(1, 2, WINNING));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    conn.send(&end(1));
    assert_eq!(conn.ack(), 0);
    assert!(conn.send(&ask(1)).winners().is_some_and(|winners| winners.len() == 3));
    assert_eq!(server.rows().len(), 6);
}

#[test]
fn a_lottery_works_in_the_whole_sandbox() {
    let Some(setup) = required(1) else { return };
    let server = setup.start();
    play(&server);
    let log = server.stop();
    assert!(!log.contains("action: sandbox") && !log.contains("child_exit | result: fail"), "{log}");
}

#[test]
fn another_user_needs_no_rights_for_it() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 || !has_program("setpriv") {
        return skipped(&this_test(), "only root can become another user, by setpriv; the other tests run as this one");
    }
    let Some(setup) = required(1) else { return };
    let become_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
    let setup = setup.under(&become_nobody).under(&["sh", "-c", "shift; exec ./server \"$@\"", "sh"]);
    install(&server_binary(), &setup.path("server"));
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let server = setup.start();
    play(&server);
    server.await_childless();
    let (mut conn, child) = server.connect_and_find_child();
    conn.send(&batch_of(1, 1, 1)[..1]);
    eventually("the sandbox is closed", || filters(child) == [2, 2, 1]);
    server.stop();
}

#[test]
fn the_sandbox_closes_before_a_message_is_complete() {
    let Some(setup) = required(1) else { return };
    let server = setup.start();
    assert_eq!(filters(server.pid()), [2, 1, 1], "the parent");
    let (mut conn, child) = server.connect_and_find_child();
    assert_eq!(filters(child), [2, 1, 1], "before the first byte");
    let message = batch_of(1, 1, 1);
    conn.send(&message[..1]);
    eventually("the sandbox is closed", || filters(child) == [2, 2, 1]);
    let limits = fs::read_to_string(format!("/proc/{child}/limits")).unwrap();
    for limit in ["Max core file size", "Max processes"] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        assert_eq!(line.split_whitespace().rev().nth(1), Some("0"), "{line}");
    }
    conn.send(&message[1..]);
    assert_eq!(conn.ack(), 0);
    server.stop();
}

#[test]
fn the_last_filter_follows_when_the_slot_is_known() {
    let Some(setup) = required(2) else { return };
    let server = setup.start();
    let (mut conn, child) = server.claim_and_find_child(1);
    assert_eq!(filters(child), [2, 3, 1]);
    conn.send(&batch_of(1, 1, 1));
    assert_eq!((conn.ack(), filters(child)), (0, [2, 3, 1]), "one for all messages");
    server.stop();
}

#[test]
fn an_echo_has_no_last_filter() {
    let Some(setup) = required(1) else { return };
    let server = setup.start();
    let (mut conn, child) = server.connect_and_find_child();
    conn.send(b"hol");
    eventually("the sandbox is closed", || filters(child) == [2, 2, 1]);
    assert_eq!(conn.send(b"a\n").rest(), b"hola\n");
    server.stop();
}

#[test]
fn off_leaves_every_step_out() {
    let server = Setup::new(1).set("SANDBOX", "off").start();
    let own = filters(std::process::id() as i32);
    let (_conn, child) = server.claim_and_find_child(1);
    assert_eq!([filters(child), filters(server.pid())], [own; 2]);
    assert!(!server.stop().contains("action: sandbox"));
}

#[test]
fn a_missing_part_is_one_warning_or_a_refusal() {
    for (fault, missing) in [("landlock_create_ruleset:error=ENOSYS", "landlock"), ("seccomp:error=ENOSYS", "seccomp")]
    {
        let Some(setup) = with_fault(Setup::new(1).set("LOGGING_LEVEL", "INFO"), fault) else { return };
        let server = setup.start();
        play(&server);
        let log = server.stop();
        let warning = format!("action: sandbox | result: in_progress | missing: {missing}\n");
        assert!(log.matches("action: sandbox").count() == 1 && log.contains(&warning), "{log}");

        let Some(setup) = with_fault(Setup::new(1).set("SANDBOX", "require"), fault) else { return };
        let mut server = setup.spawn();
        assert_eq!(server.wait().code(), Some(2));
        let complaint = format!("server: SANDBOX: require is not possible, this kernel or container lacks {missing};");
        assert!(server.log().contains(&complaint), "{}", server.log());
        assert!(!server.bets_path().exists());
    }
}

#[test]
fn a_step_that_fails_ends_its_connection_unserved() {
    for fault in ["prlimit64:error=EPERM", "landlock_restrict_self:error=E2BIG", "seccomp:error=ENOMEM"] {
        let Some(setup) = required(1) else { return };
        let server = setup.start();
        let inject = format!("inject={fault}");
        let calls = format!("trace={}", fault.split(':').next().unwrap());
        let Some(_strace) = Strace::attach(server.pid(), &["-f", "-e", &calls, "-e", &inject]) else { return };
        for message in [&b"hola\n"[..], &batch_of(1, 1, 1)] {
            assert_eq!(server.connect().send(message).rest_or_reset(), b"", "{fault}");
        }
        server.await_log("action: sandbox | result: fail");
        server.await_log("causa: código de salida 102");
        assert_eq!(server.bets(), b"");
        server.stop();
    }
}

//! The surroundings of the programs: a missing syslog daemon, signals of a terminal, limits of the user, time zones. No
//! program ends without a word, and none leaves anything behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use support::peer::PlayedServer;
use support::strace::strace_starts;
use support::*;

// ---- a log that nobody receives ----------------------------------------------------------------------------------

/// A server that logs to a socket only and cannot use its port: what it prints, and its exit code.
fn failed_start(setup: Setup) -> Output {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
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

// ---- signals -----------------------------------------------------------------------------------------------------

/// A program that starts with SIGHUP ignored, as under nohup(1).
const NOHUP: [&str; 4] = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
/// A program that leaves no core file.
const NO_CORE: [&str; 4] = ["sh", "-c", "ulimit -c 0; exec \"$@\"", "sh"];

#[test]
fn sighup_ends_the_server_like_sigterm() {
    let mut server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = server.connect_and_find_child();
    conn.send(&batch_of(1, 3, 1)[..20]);
    server.await_read(&conn);
    server.signal("HUP");
    server.await_log("action: close_listener | result: success");
    conn.send(&batch_of(1, 3, 1)[20..]);
    assert_eq!((conn.ack(), conn.rest()), (0, vec![]));
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().ends_with("action: exit | result: success\n") && !is_alive(child), "{}", server.log());
}

#[test]
fn sighup_to_one_child_ends_only_its_connection() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = server.connect_and_find_child();
    server.await_read(&conn);
    send_signal(child, "HUP");
    assert_eq!(conn.rest(), b"");
    assert!(!server.stop().contains("child_exit | result: fail"));
}

#[test]
fn an_ignored_sighup_stays_ignored_in_server_and_children() {
    let server = Setup::new(2).under(&NOHUP).start();
    let (mut conn, child) = server.connect_and_find_child();
    assert_eq!(conn.send(&batch_of(1, 3, 1)).ack(), 0);
    send_signal(child, "HUP");
    server.signal("HUP");
    assert!(conn.is_silent_for(QUIET));
    assert_eq!(conn.send(&batch_of(1, 3, 1)).ack(), 0);
    assert!(!server.stop().contains("result: fail"));
}

#[test]
fn sighup_ends_the_client_in_order_unless_ignored() {
    let server = PlayedServer::new();
    let setup = || ClientSetup::new("echo").server(server.address()).set("LOOP_PERIOD", "1h");
    let begun = |setup: ClientSetup| {
        let mut client = setup.start();
        let mut peer = server.accept();
        peer.text();
        peer.send(b"x\n");
        client.line("action: receive_message");
        client
    };
    let client = begun(setup());
    client.signal(Signal::SIGHUP);
    client.end().succeeded();
    let client = begun(setup().under(&NOHUP));
    client.signal(Signal::SIGHUP);
    assert!(client.is_quiet());
    client.stop();
}

/// The other signals keep their default action: they kill the process, without a last line. The next server continues.
#[test]
fn other_signals_kill_the_server_and_lose_nothing() {
    for (name, signal) in [("USR1", Signal::SIGUSR1), ("USR2", Signal::SIGUSR2), ("QUIT", Signal::SIGQUIT)] {
        let mut server = Setup::new(1).under(&NO_CORE).start();
        let (mut conn, child) = server.connect_and_find_child();
        assert_eq!(conn.send(&batch_of(1, 3, 1)).ack(), 0);
        server.signal(name);
        assert_eq!(server.wait().signal(), Some(signal as i32));
        assert!(!server.log().contains("action: exit"), "{}", server.log());
        eventually("its child is gone", || !is_alive(child));
        let next = server.kill().plain().start();
        assert_eq!(next.tally(1).0, 3);
        next.stop();
    }
}

/// The mask of blocked signals, in hexadecimal digits.
fn blocked(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned()
}

#[test]
fn no_process_keeps_a_signal_blocked() {
    let server = Setup::new(2).start();
    let (mut conn, child) = server.connect_and_find_child();
    assert_eq!(conn.send(&batch_of(1, 3, 1)).ack(), 0);
    let mut client = ClientSetup::new("echo").server(PlayedServer::new().address()).start();
    client.line("action: config");
    for pid in [server.pid(), child, client.pid()] {
        assert!(blocked(pid).bytes().all(|digit| digit == b'0'), "{}", blocked(pid));
    }
}

/// As process 1, a program would lose a signal that it neither handles nor blocks. Any other process would be killed.
#[test]
fn a_sigterm_before_the_subscription_ends_in_order() {
    if !strace_starts() {
        return;
    }
    let setup = Setup::new(1);
    for binary in [server_binary(), client_binary(), env!("CARGO_BIN_EXE_dataset").into()] {
        // The first pipe is that of the subscription.
        let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=pipe2", "-e", "inject=pipe2:signal=TERM:when=1"];
        let mut command = clean_command(&strace, binary, &setup.path(""));
        command.envs([
            ("SERVER_PORT", "0"),
            ("STORAGE_FILEPATH", "bets.csv"),
            ("CLI_ID", "1"),
            ("CLI_SERVER_ADDRESS", "127.0.0.1:1"),
        ]);
        if command.get_args().any(|word| word.to_string_lossy().ends_with("dataset")) {
            command.args(["--agencies", "1", "--seed", "1", "--out", "files"]);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {output:?}");
    }
}

/// A client in the background, whose terminal stops those that write to it.
#[test]
fn a_terminal_with_tostop_does_not_stop_a_client() {
    if !["setsid", "bash", "stty"].into_iter().all(has_program) {
        return skipped(&this_test(), "setsid, bash or stty is not installed");
    }
    let terminal = openpty(None, None).unwrap();
    let script = "stty tostop; set -m; \"$@\" & wait %1";
    let home = tempfile::tempdir().unwrap();
    let mut command = clean_command(&["setsid", "--ctty", "bash", "-c", script, "bash"], client_binary(), home.path());
    command.envs([("CLI_ID", "1"), ("CLI_MODE", "echo"), ("CLI_LOOP_AMOUNT", "0")]);
    let slave = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut shell = Mortal(command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap());
    assert_eq!(shell.wait().code(), Some(0), "it is stopped");
    drop(command);
    drop(terminal.slave);
    let mut lines = BufReader::new(File::from(terminal.master)).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("action: exit | result: success")));
}

// ---- limits and leftovers ----------------------------------------------------------------------------------------

/// At most 1024 bytes in each file.
const SMALL_FILES: [&str; 4] = ["bash", "-c", "ulimit -f 1; exec \"$@\"", "bash"];

fn dataset(under: &[&str], out: &str, agencies: &str) -> Command {
    let mut command = clean_command(under, env!("CARGO_BIN_EXE_dataset").into(), out.as_ref());
    command.args(["--seed", "1", "--out", out, "--agencies", agencies]);
    command
}

#[test]
fn a_file_size_limit_is_a_write_error_of_dataset() {
    let home = tempfile::tempdir().unwrap();
    let output = dataset(&SMALL_FILES, path(home.path()), "1").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{:?} {errors}", output.status);
    assert!(errors.contains("agency-1.csv") && errors.contains("File too large"), "{errors}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_file_size_limit_of_the_log_does_not_end_a_client() {
    let server = Setup::new(1).start();
    let home = tempfile::tempdir().unwrap();
    let log = File::create(home.path().join("log")).unwrap();
    let mut command = clean_command(&SMALL_FILES, client_binary(), home.path());
    write_file(&home.path().join("bets"), agency_file(500));
    let address = format!("127.0.0.1:{}", server.port());
    command.envs([("CLI_ID", "1"), ("CLI_DATA_PATH", "bets"), ("CLI_BATCH_MAXAMOUNT", "5")]);
    let status = command.env("CLI_LOG_LEVEL", "DEBUG").env("CLI_SERVER_ADDRESS", address).stdout(log).status();
    assert_eq!(status.unwrap().code(), Some(0));
    assert_eq!(server.rows().len(), 500);
    assert_eq!(fs::metadata(home.path().join("log")).unwrap().len(), 1024);
}

#[test]
fn a_stopped_dataset_removes_its_draft_and_ends_with_0() {
    for signal in ["TERM", "INT", "HUP"] {
        let home = tempfile::tempdir().unwrap();
        let names = || -> Vec<_> {
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let mut command = dataset(&[], path(home.path()), "1");
        command.args(["--rows", "10000000"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Mortal(command.spawn().unwrap());
        eventually("it writes", || names().iter().any(|name| name.starts_with(".agency-1.csv.")));
        send_signal(process.0.id().try_into().unwrap(), signal);
        assert_eq!(process.wait().code(), Some(0));
        assert!(names().is_empty(), "{:?}", names());
        let errors = io::read_to_string(process.0.stderr.take().unwrap()).unwrap();
        assert!(errors.starts_with("dataset: stopped, ") && errors.contains("agency-1.csv"), "{errors}");
    }
}

#[test]
fn a_dataset_whose_lines_nobody_reads_can_be_stopped() {
    let home = tempfile::tempdir().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut command = dataset(&[], path(home.path()), "300");
    command.args(["--rows", &["0"; 300].join(",")]).stdout(writer);
    let mut process = Mortal(command.spawn().unwrap());
    let pid = process.0.id().try_into().unwrap();
    eventually("it writes", || home.path().join("agency-1.csv").exists());
    eventually("it waits", || {
        fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|call| call == "0" || call.contains("poll"))
    });
    send_signal(pid, "TERM");
    assert_eq!(process.wait().code(), Some(0));
}

// ---- time zones --------------------------------------------------------------------------------------------------

/// The log of a client that only starts and ends, with this value of TZ.
fn log_in_zone(value: &[u8]) -> String {
    let setup = ClientSetup::new("echo").set("LOOP_AMOUNT", "0").variable("TZ", OsStr::from_bytes(value));
    let output = setup.output();
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_zone_that_is_not_understood_is_one_warning() {
    let wrong = ["IST-2IDT,M3.4.4/26,M10.5.0", "EST5EDT4", "GMT0BST", "America/Nowhere", "Amerika", ":UTC5"];
    for value in wrong.map(str::as_bytes).into_iter().chain([&b"\xff"[..]]) {
        let log = log_in_zone(value);
        let line = log.lines().next().unwrap();
        let tz = String::from_utf8_lossy(value);
        assert!(line.contains(" WARNING  action: config | result: in_progress | aviso: TZ is not understood"), "{log}");
        assert!(line.contains(&format!(" | tz: {tz} | utc_offset: ")) && log.matches("WARNING").count() == 1, "{log}");
    }
    let server = Setup::new(1).under(&["env", "TZ=EST5EDT4"]).start();
    assert_eq!(server.stop().matches("aviso: TZ is not understood").count(), 1);
}

#[test]
fn a_zone_that_is_understood_is_no_warning() {
    let rules =
        ["", "UTC", "UTC0", "Etc/UTC", "<-03>3", "ART+3", "EST5EDT,M3.2.0,M11.1.0", "AEST-10AEDT,M10.1.0,M4.1.0/3"];
    let files =
        ["America/Argentina/Buenos_Aires", ":Europe/London", "Africa/Abidjan", "/usr/share/zoneinfo/Asia/Tokyo"];
    let are_installed = fs::exists("/usr/share/zoneinfo/Europe/London").unwrap();
    let files = files.into_iter().filter(|_| are_installed);
    for value in rules.into_iter().chain(files) {
        let log = log_in_zone(value.as_bytes());
        assert!(!log.contains("WARNING"), "{log}");
    }
    if !are_installed {
        skipped(&this_test(), "the files of time zones are not installed");
    }
}

/// A process that is killed when this is dropped.
struct Mortal(Child);

impl Mortal {
    /// Waits for its end, but not for ever.
    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let status = poll_until(PATIENCE, || self.0.try_wait().unwrap());
        status.unwrap_or_else(|| panic!("it does not end"))
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- the addresses that the server listens on ----

/// Whether an echo over a connection to `address` works, and the address that the log has for the client.
fn echo_to(address: &str, server: &Server) -> String {
    let mut conn = Conn::patient(TcpStream::connect((address, server.port())).unwrap());
    assert_eq!(conn.send(b"hola\n").rest(), b"hola\n");
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains("action: receive_message")).unwrap();
    line.split(" | ").find_map(|field| field.strip_prefix("ip: ")).unwrap().to_owned()
}

#[test]
fn every_interface_is_the_default_and_ipv4_peers_stay_ipv4() {
    let server = Server::start(2);
    assert_eq!(echo_to("127.0.0.1", &server), "127.0.0.1");
    if TcpListener::bind("[::1]:0").is_err() {
        return skipped("every_interface_is_the_default_and_ipv4_peers_stay_ipv4", "no IPv6 on this machine");
    }
    assert_eq!(echo_to("::1", &server), "::1");
}

#[test]
fn only_the_listed_addresses_are_served() {
    let server = Setup::new(2).set("LISTEN_ADDRESS", "127.0.0.2, 127.0.0.3").start();
    for address in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(echo_to(address, &server), "127.0.0.1", "the client has the address that its system picks");
    }
    let refused = TcpStream::connect(("127.0.0.1", server.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.signal("TERM");
}

#[test]
fn a_listed_address_of_another_machine_is_exit_code_1() {
    let mut server = Setup::new(2).set("LISTEN_ADDRESS", "127.0.0.1,192.0.2.7").spawn();
    assert_eq!(server.wait().code(), Some(1));
    assert_one_complaint(&server.log(), "of 192.0.2.7: Cannot assign requested address");
}

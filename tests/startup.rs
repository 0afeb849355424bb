//! Arguments, settings and log targets from outside: a wrong one is reported in one line with exit code 2 before any
//! file is opened, and a right one has its effect.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::stat::Mode;
use nix::unistd;
use support::*;

/// Every key whose value can be wrong: wrong values, and words of the allowed ones.
const WRONG: [(&str, &[&str], &str); 19] = [
    (
        "SERVER_PORT",
        &["65536", "-1", "+1", "12a45", "0x10", "12345 # the port", "1 2", "99999999999999999999"],
        "0 to 65535",
    ),
    (
        "LISTEN_ADDRESS",
        &["localhost", "127.0.0.1:80", "[::1]", "::1,", "::1,::1"],
        "one to eight different IP addresses",
    ),
    ("SERVER_LISTEN_BACKLOG", &["-1", "many", "2147483648", "1.5"], "0 to 2147483647"),
    ("LOGGING_LEVEL", &["LOUD", "WARN", "10", "\"INFO\""], "CRITICAL, ERROR, WARNING, INFO or DEBUG"),
    ("CLIENT_AMOUNT", &["-1", "five", "4294967296"], "0 to 4294967295"),
    ("LOTTERY_WINNER_NUMBER", &["-7574", "4294967296", "7574.0"], "0 to 4294967295"),
    ("MAX_CONNECTIONS", &["0", "-1", "all", "2", "1", "4294967296"], "above CLIENT_AMOUNT, which is 2"),
    ("MAX_PER_SOURCE", &["-1", "all", "4294967296"], "0 to 4294967295"),
    ("PENALTY", &["5", "on", "forever", "-1s"], "off or a duration like 5s"),
    ("IDLE_TIMEOUT", &["5", "-5s", "5 s", "5sec", "forever", "s", "0", "0s", "1ns", "9.9ms"], "from 10ms to 2562047h"),
    ("MESSAGE_TIMEOUT", &["5", "-5s", "1e3s", "abc", "0", "0s", "1us", "9ms"], "from 10ms to 2562047h"),
    ("NEWCOMER_TIMEOUT", &["5", "-5s", "forever", "0", "9ms"], "from 10ms to 2562047h"),
    ("DRAW_WAIT", &["5", "never", "-1s"], "forever or a duration like 5s"),
    ("SHUTDOWN_GRACE", &["5", "forever", "99999999999999999999h"], "a duration like 5s"),
    ("DURABILITY", &["all", "END", "batch,end"], "process, end or batch"),
    ("UNTYPED", &["yes", "ON", "0"], "on or off"),
    ("LOG_TARGET", &["file", "stdout,syslog", "/dev/null"], "stdout, syslog or both"),
    ("STORAGE_FILEPATH", &[], "a path"),
    ("SANDBOX", &["yes", "ON", "required"], "on, require or off"),
];

#[test]
fn a_wrong_variable_is_one_line_with_name_and_allowed_values() {
    for (key, values, allowed) in WRONG {
        for value in values {
            let complaint = refused(Setup::new(2).set(key, value));
            let expected = format!("server: {key}: {value:?} is not allowed, it must be ");
            assert!(complaint.starts_with(&expected) && complaint.contains(allowed), "{complaint}");
            assert!(complaint.contains(&format!("variable {key}")), "{complaint}");
        }
    }
}

#[test]
fn a_wrong_value_in_the_file_is_one_line_with_key_and_file() {
    for (key, values, allowed) in WRONG {
        let nothing: &[&str] = &[""];
        for value in values.iter().chain(nothing) {
            let setup = without_variables().set("STORAGE_FILEPATH", "").arg("--config").arg("my.ini");
            let others = if key == "CLIENT_AMOUNT" { "" } else { "CLIENT_AMOUNT = 2\n" };
            write_file(&setup.path("my.ini"), format!("[DEFAULT]\n{others}{key} = {value}\n"));
            let complaint = refused(setup);
            let expected = format!("server: {key}: {value:?} is not allowed, it must be ");
            assert!(complaint.starts_with(&expected) && complaint.contains(allowed), "{complaint}");
            assert!(complaint.contains("my.ini"), "{complaint}");
        }
    }
}

#[test]
fn a_malformed_file_is_one_line_with_the_place() {
    for (text, place) in [
        ("[DEFAULT]\nSERVER_PROT = 1\n", "SERVER_PROT"),
        ("[DEFAULT]\nSERVER_PORT = 1\nserver_port = 2\n", "line 3"),
        ("SERVER_PORT = 1\n", "line 1"),
        ("[DEFAULT]\nSERVER_PORT = 1\n[OTHER]\nx = 1\n", "line 3"),
        ("[DEFAULT]\nSERVER_PORT = 1\n  2\n", "line 3"),
        ("[DEFAULT]\nnonsense\n", "line 2"),
        ("\u{feff}[DEFAULT]\n", "line 1"),
    ] {
        let setup = without_variables().arg("--config").arg("my.ini");
        write_file(&setup.path("my.ini"), text);
        let complaint = refused(setup);
        assert!(complaint.starts_with("server: my.ini: ") && complaint.contains(place), "{complaint}");
    }
}

#[test]
fn a_named_file_must_exist_and_be_readable() {
    let complaint = refused(without_variables().arg("--config").arg("missing.ini"));
    assert!(complaint.starts_with("server: missing.ini: "), "{complaint}");
    let complaint = refused(without_variables().arg("--config=."));
    assert!(complaint.starts_with("server: .: "), "{complaint}");
    let latin1 = without_variables().arg("--config=latin1.ini");
    write_file(&latin1.path("latin1.ini"), b"[DEFAULT]\nSERVER_IP = caf\xe9\n");
    assert!(refused(latin1).starts_with("server: latin1.ini: "));
}

#[test]
fn wrong_arguments_are_one_line_and_exit_code_2() {
    for (arguments, named) in [
        (&["--colour"][..], "--colour"),
        (&["extra"], "extra"),
        (&["--config"], "--config"),
        (&["--new-draw=yes"], "--new-draw"),
        (&["--config", "a", "--config", "b"], "--config"),
    ] {
        let setup = arguments.iter().fold(Setup::new(2), |setup, argument| setup.arg(argument));
        let complaint = refused(setup);
        assert!(complaint.starts_with("server: ") && complaint.contains(named), "{complaint}");
    }
}

#[test]
fn help_and_version_are_printed_and_nothing_starts() {
    for (argument, said) in [("--help", "--config"), ("-h", "--new-draw"), ("--version", env!("CARGO_PKG_VERSION"))] {
        // Even with wrong settings.
        let setup = Setup::new(2).arg(argument).set("SERVER_PORT", "none");
        let (output, changed) = run(setup);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), changed), (Some(0), false), "{argument}");
        assert!(stdout.contains(said) && output.stderr.is_empty(), "{stdout}");
    }
}

#[test]
fn a_variable_beats_the_file_and_the_file_beats_the_default() {
    let setup = without_variables().arg("--config").arg("my.ini");
    let text = "[DEFAULT]\nSERVER_PORT = 0\nSERVER_LISTEN_BACKLOG = 7\nLOGGING_LEVEL = DEBUG\nSERVER_IP = 0.0.0.0\n";
    write_file(&setup.path("my.ini"), text);
    let server = here(setup).set("SERVER_LISTEN_BACKLOG", 9).start();
    assert_config_line(&server, "port: 0 | listen_backlog: 9 | logging_level: DEBUG");
}

#[test]
fn empty_and_unknown_variables_are_ignored() {
    let setup = without_variables().set("SERVER_PORTS", "none").set("CLI_ID", "x").set("LISTEN_BACKLOG", "-1");
    fs::create_dir(setup.path("config")).unwrap();
    write_file(&setup.path("config/server.ini"), "[DEFAULT]\nSERVER_PORT = 0\nlogging_level: debug\n");
    let server = here(setup).set("SERVER_LISTEN_BACKLOG", "").start();
    assert_config_line(&server, "port: 0 | listen_backlog: 5 | logging_level: DEBUG");
}

#[test]
fn without_the_default_file_the_defaults_count() {
    let setup = here(without_variables()).set("SERVER_PORT", 0).set("LOGGING_LEVEL", "DEBUG");
    assert!(!setup.path("config").exists());
    let server = setup.start();
    assert_config_line(&server, "port: 0 | listen_backlog: 5 | logging_level: DEBUG");
    let mut sixth = server.connect();
    sixth.send(&end(6));
    assert_eq!(sixth.ack(), 2, "five agencies");
    let mut conns: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for (agency, conn) in (1..).zip(&mut conns) {
        conn.deliver(agency, 1, WINNING);
    }
    assert!(conns.iter_mut().all(|conn| conn.winners() == Some(vec![0])));
    assert_eq!(fs::read(server.path(".data/bets.csv")).unwrap().len(), 5 * "1,Ana,Paz,0,1999-03-17,7574\r\n".len());
}

#[test]
fn the_official_file_with_its_four_keys_is_enough() {
    let setup = here(without_variables()).set("LOGGING_LEVEL", "");
    fs::create_dir(setup.path("config")).unwrap();
    let official = "[DEFAULT]\nSERVER_PORT = 0\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = 5\nLOGGING_LEVEL = INFO\n";
    write_file(&setup.path("config/server.ini"), official);
    let server = setup.start();
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    let log = server.stop();
    assert!(
        !log.contains("DEBUG") && log.contains("action: receive_message | result: success | ip: 127.0.0.1 | msg: hola")
    );
}

#[test]
fn the_file_in_the_repository_is_a_valid_one() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/server.ini");
    let server = here(without_variables()).arg("--config").arg(file).set("SERVER_PORT", 0).start();
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
}

#[test]
fn a_file_may_hold_every_key() {
    let setup = without_variables().arg("--config").arg("all.ini");
    let syslog = setup.path("syslog");
    let daemon = UnixDatagram::bind(&syslog).unwrap();
    fs::create_dir(setup.path("store")).unwrap();
    let text = format!(
        "# every key\n[DEFAULT]\nserver_port: 0\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = 3\nLOGGING_LEVEL = DEBUG\n\
         CLIENT_AMOUNT = 1\nSTORAGE_FILEPATH = store/rows.csv\n; numbers\nLOTTERY_WINNER_NUMBER = 42\nMAX_CONNECTIONS = 2\n\
         MAX_PER_SOURCE = 2\nPENALTY = 1s\n\
         IDLE_TIMEOUT = 1h\nMESSAGE_TIMEOUT = 1m30s\nNEWCOMER_TIMEOUT = 1m\nDRAW_WAIT = 0s\nSHUTDOWN_GRACE = 600s\nDURABILITY = batch\nUNTYPED = off\n\
         LOG_TARGET = both\nSYSLOG_SOCKET = {}\nSANDBOX = off\n",
        syslog.display()
    );
    write_file(&setup.path("all.ini"), text);
    let server = setup.set("STORAGE_FILEPATH", "").start();
    assert_config_line(&server, "port: 0 | listen_backlog: 3 | logging_level: DEBUG");
    assert!(receive(&daemon).contains("action: config | result: success | port: 0"));
    let mut conn = server.connect();
    conn.send(&ask(1));
    assert_eq!(conn.winners(), None, "DRAW_WAIT");
    conn.send(&batch_of(1, 2, 42)).send(&end(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    server.await_log(SORTEO);
    assert_eq!(conn.send(&ask(1)).winners(), Some(vec![0, 1]));
    assert_eq!(fs::read(server.path("store/rows.csv")).unwrap().len(), 2 * "1,Ana,Paz,0,1999-03-17,42\r\n".len());
    server.stop();
}

#[test]
fn a_storage_path_with_another_use_is_refused() {
    for name in ["books", "draw", "books.new", "draw.new", "ends", "server.lock", "server.csv", "bets.lock"] {
        let setup = Setup::new(1);
        let path = setup.path(name);
        let complaint = refused(setup.set("STORAGE_FILEPATH", path.display()).set("LOGGING_LEVEL", "INFO"));
        assert!(complaint.contains(&format!("STORAGE_FILEPATH: {path:?} is not allowed")), "{complaint}");
        assert!(!path.exists());
    }
}

#[test]
fn the_longest_durations_work() {
    let server = ["MESSAGE_TIMEOUT", "IDLE_TIMEOUT", "NEWCOMER_TIMEOUT", "DRAW_WAIT", "SHUTDOWN_GRACE"]
        .into_iter()
        .fold(Setup::new(1), |setup, key| setup.set(key, "2562047h"))
        .start();
    let mut waits = server.connect();
    waits.send(&ask(1));
    server.await_read(&waits);
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    server.stop();
    assert_eq!(waits.rest(), [2, 7]);
}

#[test]
fn max_connections_must_exceed_the_agencies() {
    let complaint = refused(Setup::new(5).set("MAX_CONNECTIONS", 5));
    assert!(complaint.contains("MAX_CONNECTIONS: \"5\"") && complaint.contains("which is 5"), "{complaint}");
    Setup::new(5).set("MAX_CONNECTIONS", 6).start().stop();
}

#[test]
fn the_descriptor_limit_is_raised_or_the_start_fails() {
    if !has_program("prlimit") {
        return skipped("limits of descriptors at the start", "prlimit is not installed");
    }
    let limited =
        |limit: &str| Setup::new(5).under(&["prlimit", &format!("--nofile={limit}")]).set("LOGGING_LEVEL", "INFO");
    let complaint = refused(limited("100:100").set("MAX_CONNECTIONS", 200));
    assert!(
        complaint.contains("MAX_CONNECTIONS") && complaint.contains("200") && complaint.contains("100"),
        "{complaint}"
    );
    limited("100:100").set("MAX_CONNECTIONS", 50).start().stop();
    let server = limited("64:1000").set("MAX_CONNECTIONS", 200).set("SERVER_LISTEN_BACKLOG", 200).start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let soft =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap().split_whitespace().next().unwrap();
    assert!((200..=1000).contains(&soft.parse::<u32>().unwrap()), "{limits}");
    let _many: Vec<_> = (0..150).map(|_| server.connect()).collect();
    eventually("more than the soft limit allowed", || server.children().len() == 150);
}

#[test]
fn a_low_hard_limit_lowers_the_default_of_max_connections() {
    if !has_program("prlimit") {
        return skipped("limits of descriptors at the start", "prlimit is not installed");
    }
    let limited = |limit: u32, agencies: u32| {
        Setup::new(agencies).under(&["prlimit", &format!("--nofile={limit}:{limit}")]).set("LOGGING_LEVEL", "INFO")
    };
    for (limit, agencies, lowered) in [(1024, 5, 992), (1055, 0, 1023), (38, 5, 6), (33, 0, 1)] {
        let log = limited(limit, agencies).start().stop();
        let line = format!(
            " WARNING  action: config | result: in_progress | aviso: the hard limit of descriptors lowers the default of \
             MAX_CONNECTIONS | max_connections: {lowered} | descriptores: {limit}"
        );
        assert!(log.lines().next().unwrap().ends_with(&line) && log.matches("WARNING").count() == 1, "{log}");
    }
    let log = limited(1056, 5).start().stop();
    assert!(!log.contains("WARNING"), "{log}");
    for (limit, agencies) in [(37, 5), (32, 0), (1024, 992)] {
        let complaint = refused(limited(limit, agencies));
        let (least, limit) = (agencies + 33, format!("hard limit of {limit} descriptors"));
        assert!(complaint.contains(&limit) && !complaint.contains("MAX_CONNECTIONS"), "{complaint}");
        assert!(complaint.contains(&format!("CLIENT_AMOUNT={agencies} ")), "{complaint}");
        assert!(complaint.contains(&format!(" {least};")), "{complaint}");
    }
}

#[test]
fn a_lowered_default_of_max_connections_serves_that_many() {
    if !has_program("prlimit") {
        return skipped("limits of descriptors at the start", "prlimit is not installed");
    }
    let server = Setup::new(5).under(&["prlimit", "--nofile=40:40"]).start();
    let conns: Vec<_> = (0..10).map(|_| server.connect()).collect();
    eventually("8 are served", || server.children().len() == 8);
    drop(conns);
    server.await_childless();
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    server.stop();
}

#[test]
fn an_address_from_kubernetes_as_port_is_explained() {
    for address in ["tcp://10.0.0.1:80", "udp://10.0.0.1:53", "tcp://[fd00::1]:12345"] {
        let complaint = refused(Setup::new(2).set("SERVER_PORT", address));
        let cause = "(set in variable SERVER_PORT by Kubernetes for a service called server: rename the service or set \
                     enableServiceLinks to false)";
        assert!(complaint.starts_with("server: SERVER_PORT: ") && complaint.contains(cause), "{complaint}");
    }
    assert!(!refused(Setup::new(2).set("SERVER_PORT", "80/tcp")).contains("Kubernetes"));
    let in_file = without_variables().arg("--config").arg("my.ini");
    write_file(&in_file.path("my.ini"), "[DEFAULT]\nSERVER_PORT = tcp://10.0.0.1:80\n");
    assert!(!refused(in_file).contains("Kubernetes"));
}

#[test]
fn the_shortest_durations_are_useful() {
    let shortest = Setup::new(1).set("DRAW_WAIT", "0s").set("SHUTDOWN_GRACE", "0s");
    let server = shortest.set("MESSAGE_TIMEOUT", "10ms").set("IDLE_TIMEOUT", "10ms").start();
    let mut answer = Vec::new();
    poll_until(PATIENCE, || {
        answer = server.connect().send(b"hola\n").rest_or_reset();
        (!answer.is_empty()).then_some(())
    });
    assert_eq!(answer, b"hola\n");
    server.stop();
}

// ---- the file of the settings ------------------------------------------------------------------------------------

/// Both programs with `--config FILE` in the directory of `setup`, which has the binary, too.
fn both(setup: &Setup, file: &str) -> [(&'static str, Command); 2] {
    let server = ("server", server_binary());
    [server, ("client", client_binary())].map(|(name, binary)| {
        let mut command = clean_command::<&str>(&[], binary, &setup.path(""));
        command.args(["--config", file]).env("CLI_MODE", "echo").env("CLI_LOOP_AMOUNT", "0");
        (name, command)
    })
}

/// Starts the program, waits until it has opened `file`, sends a signal, and returns how it ended.
fn stopped_while_it_reads(mut command: Command, file: &Path, signal: &str) -> Output {
    let mut process = Mortal(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let pid = process.0.id().try_into().unwrap();
    let name = path(file);
    // The standard streams may be the same file.
    eventually("it is opened", || descriptors(pid).range(3..).any(|(_, target)| target == name));
    assert_idle(&[pid]);
    send_signal(pid, signal);
    output(&mut process)
}

#[test]
fn a_signal_ends_the_wait_for_a_silent_settings_file() {
    let setup = Setup::new(1);
    let fifo = setup.path("fifo");
    unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let terminal = openpty(None, None).unwrap();
    let pty = unistd::ttyname(&terminal.slave).unwrap();
    // A FIFO without a writer, one with a writer that is silent after some bytes, and an idle terminal.
    for (config, file, written) in [("fifo", &fifo, None), ("fifo", &fifo, Some("# half")), ("/dev/stdin", &pty, None)]
    {
        let _writer = written.map(|text| {
            let mut writer = File::options().read(true).write(true).open(file).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
            writer
        });
        for signal in ["TERM", "INT"] {
            for (name, mut command) in both(&setup, config) {
                command.stdin(terminal.slave.try_clone().unwrap());
                let output = stopped_while_it_reads(command, file, signal);
                assert_eq!(output.status.code(), Some(0), "{name} {config} {signal}: {output:?}");
                assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{name} {config}: {output:?}");
            }
        }
    }
}

#[test]
fn a_settings_file_may_come_in_pieces_through_a_fifo() {
    let setup = here(without_variables()).arg("--config").arg("fifo");
    let fifo = setup.path("fifo");
    unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let server = setup.spawn();
    eventually("it is opened", || descriptors(server.pid()).values().any(|target| target == path(&fifo)));
    let mut writer = File::options().write(true).open(&fifo).unwrap();
    for piece in ["[DEFAULT]\nSERVER_PORT = 0\n", "LOGGING_LEVEL = DEBUG\nSERVER_LISTEN", "_BACKLOG = 9\n"] {
        writer.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(QUIET);
    }
    drop(writer);
    server.await_log("action: listen");
    assert_config_line(&server, "port: 0 | listen_backlog: 9 | logging_level: DEBUG");
}

#[test]
fn a_settings_file_may_be_a_descriptor_of_the_shell() {
    let text = "[DEFAULT]\nSERVER_PORT = 0\nLOGGING_LEVEL = DEBUG\nSERVER_LISTEN_BACKLOG = 9\n";
    for script in ["exec \"$@\" --config <(cat my.ini)", "exec \"$@\" --config /dev/fd/3 3<my.ini"] {
        let setup = here(without_variables()).under(&["bash", "-c", script, "bash"]);
        write_file(&setup.path("my.ini"), text);
        let server = setup.start();
        assert_config_line(&server, "port: 0 | listen_backlog: 9 | logging_level: DEBUG");
        let open = descriptors(server.pid());
        assert!(open.values().all(|target| !target.contains("my.ini")), "it is closed after it is read: {open:?}");
        assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
        server.stop();
    }
    let setup = here(without_variables()).under(&["bash", "-c", "\"$@\" --config /dev/stdin", "bash"]);
    let mut command = setup.command();
    command.env("SERVER_PORT", "none").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Mortal(command.spawn().unwrap());
    process.0.stdin.take().unwrap().write_all(b"[OTHER]").unwrap();
    let complaint = String::from_utf8(output(&mut process).stderr).unwrap();
    assert!(complaint.starts_with("server: /dev/stdin: line 1"), "{complaint}");
}

#[test]
fn inherited_descriptors_are_closed_before_it_serves() {
    let setup = Setup::new(1).under(&["bash", "-c", "exec \"$@\" 3<my.file 9<my.file", "bash"]);
    write_file(&setup.path("my.file"), "");
    let server = setup.start();
    let open = descriptors(server.pid());
    assert!(open.values().all(|target| !target.contains("my.file")), "{open:?}");
    server.stop();
}

#[test]
fn a_descriptor_that_was_not_given_is_not_a_settings_file() {
    // Without this, the test's own open descriptors would be given.
    let close = "for fd in {3..30}; do eval \"exec $fd<&-\"; done; exec \"$@\"";
    let setup = Setup::new(1);
    for fd in 3..10 {
        let file = format!("/dev/fd/{fd}");
        for (name, binary) in [("server", server_binary()), ("client", client_binary())] {
            let mut command = clean_command(&["bash", "-c", close, "bash"], binary, &setup.path(""));
            command.args(["--config", &file]).env("SERVER_PORT", "none").env("CLI_MODE", "none");
            let complaint = one_line_and_code_2(command);
            assert!(complaint.starts_with(&format!("{name}: {file}: No such file")), "{complaint}");
        }
    }
}

#[test]
fn a_settings_file_above_one_megabyte_is_refused() {
    let setup = Setup::new(1);
    let comments = |len: usize| "#".repeat(79) + "\n" + &"#\n".repeat((len - 80) / 2);
    for (len, is_allowed) in [(1_000_000, true), (1_000_002, false)] {
        write_file(&setup.path("long"), comments(len));
        for (name, mut command) in both(&setup, "long") {
            // The first error after the file is read.
            command.env("CLI_ID", "none").env("SERVER_PORT", "none");
            let complaint = one_line_and_code_2(command);
            let expected = if is_allowed { "none" } else { ": long: larger than 1000000 bytes" };
            assert!(complaint.starts_with(name) && complaint.contains(expected), "{complaint}");
        }
    }
    for (name, command) in both(&setup, "/dev/zero") {
        let complaint = one_line_and_code_2(command);
        assert!(complaint.starts_with(&format!("{name}: /dev/zero: larger than ")), "{complaint}");
    }
}

#[test]
fn a_deeply_nested_yaml_is_refused_at_once() {
    let setup = Setup::new(1);
    let mut cases = vec![
        ("id: 1\nx: ".to_owned() + &"[".repeat(65), "64 levels"),
        ("\u{feff}id: 1\nx: ".to_owned() + &"{a: ".repeat(65), "64 levels"),
        ("[\n".repeat(300_000), "64 levels"),
        ("[\"]\",".repeat(200_000), "64 levels"),
        ("x: 'it''s\n# it's' \n".to_owned() + &"# '['\n".repeat(100_000), "64 levels"),
        ("# a\r[".repeat(150_000), "64 levels"),
        ("- ".repeat(400_000), "invalid type"),
        ("? ".repeat(400_000), "invalid type"),
    ];
    let directives: String = (0..60_000).map(|n| format!("%TAG !{n:05x}! x\n")).collect();
    cases.push((directives + "---\nid: 1\n", "64 directives"));
    for (text, expected) in cases {
        write_file(&setup.path("deep"), &text);
        let [_, (_, command)] = both(&setup, "deep");
        let complaint = one_line_and_code_2(command);
        assert!(complaint.starts_with("client: deep: ") && complaint.contains(expected), "{complaint}");
    }
    let shallow =
        "# [one] {two}\n".repeat(100) + "id: 1\nlog: {level: info}\nserver: {address: '[::1]:1'}\nmode: none\n";
    write_file(&setup.path("deep"), shallow);
    let [_, (_, mut command)] = both(&setup, "deep");
    let complaint = {
        command.env_remove("CLI_MODE");
        one_line_and_code_2(command)
    };
    assert!(complaint.starts_with("client: mode: "), "{complaint}");
}

#[test]
fn the_backlog_limits_the_connections_that_wait() {
    for backlog in [2, 40] {
        let server = Setup::new(2).set("SERVER_LISTEN_BACKLOG", backlog).start();
        stop_process(server.pid());
        let address = ([127, 0, 0, 1], server.port()).into();
        let connect = |_| match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => Some(stream),
            Err(e) if e.kind() == ErrorKind::TimedOut => None,
            Err(e) => panic!("{e}"),
        };
        let waiting: Vec<_> = (0..backlog * 2).map_while(connect).collect();
        // The kernel allows one more than requested.
        assert!((backlog..=backlog + 1).contains(&waiting.len()), "{} with a backlog of {backlog}", waiting.len());
        send_signal(server.pid(), "CONT");
        eventually("all are served", || server.children().len() == waiting.len());
    }
}

// ---- where lines go ----------------------------------------------------------------------------------------------

#[test]
fn a_logging_level_hides_lower_levels() {
    let levels = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"];
    for (n, level) in levels.into_iter().enumerate() {
        let mut server = Setup::new(1).set("LOGGING_LEVEL", level).set("SHUTDOWN_GRACE", "100ms").spawn();
        let port = listening_port(server.pid());
        let mut refused = Conn::to(port);
        refused.send(&end(9));
        assert_eq!(refused.ack(), 2);
        drop(refused);
        let mut cut = Conn::to(port);
        assert_eq!(cut.send(&batch_of(1, 1, 1)).ack(), 0);
        // A session whose message does not finish is killed, with a warning.
        cut.send(&batch_of(1, 1, 1)[..10]);
        eventually("it is read", || sockets().iter().all(|socket| socket.local != port || socket.unread == 0));
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        let log = server.log();
        let seen = |level: &str| log.lines().any(|line| line.split(' ').nth(2) == Some(level));
        // None of these lines is critical.
        let expected: Vec<_> = levels[1..].iter().map(|other| levels[..=n].contains(other)).collect();
        assert_eq!(levels[1..].iter().map(|level| seen(level)).collect::<Vec<_>>(), expected, "{level}\n{log}");
    }
}

#[test]
fn the_log_is_appended_to_a_file_that_others_write_too() {
    // The file is not opened for appending: lines of other processes do not move the server's offset.
    let mut server = Setup::new(1).under(&["sh", "-c", "exec \"$@\" >plain.log", "sh"]).spawn();
    let port = listening_port(server.pid());
    let log = server.path("plain.log");
    for n in 0..20 {
        assert!(!Conn::to(port).send(format!("number {n}\n").as_bytes()).rest().is_empty());
        File::options().append(true).open(&log).unwrap().write_all(format!("stranger {n}\n").as_bytes()).unwrap();
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("action: accept_connections | result: success").count(), 20, "{text}");
    assert!((0..20).all(|n| text.contains(&format!("| msg: number {n}\n"))), "{text}");
    assert!((0..20).all(|n| text.contains(&format!("\nstranger {n}\n"))), "{text}");
    assert!(text.ends_with("action: exit | result: success\n"));
}

#[test]
fn syslog_gets_every_line_with_the_right_pid_and_stdout_none() {
    let setup = Setup::new(1).set("LOG_TARGET", "syslog");
    let daemon = UnixDatagram::bind(setup.path("syslog")).unwrap();
    let syslog = setup.path("syslog");
    let mut server = setup.set("SYSLOG_SOCKET", syslog.display()).spawn();
    let (parent, port) = (server.pid(), listening_port(server.pid()));
    assert_from(&receive(&daemon), parent, "action: config | result: success");
    assert_from(&receive(&daemon), parent, &format!("action: listen | result: success | port: {port}"));
    let mut conn = Conn::to(port);
    eventually("a child", || server.children().len() == 1);
    let child = server.children()[0];
    assert_eq!(conn.send(&batch_of(1, 2, 1)).ack(), 0);
    let line = receive_until(&daemon, "action: apuesta_recibida | result: success | cantidad: 2");
    assert_from(&line, child, "");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_from(&receive_until(&daemon, "action: close_connection"), child, "");
    assert_from(&receive_until(&daemon, "action: exit | result: success"), parent, "");
    assert_eq!(server.log(), "");
}

#[test]
fn a_restarted_syslog_daemon_is_found_each_time() {
    let setup = Setup::new(1).set("LOG_TARGET", "both");
    let syslog = setup.path("syslog");
    let server = setup.set("SYSLOG_SOCKET", syslog.display()).start();
    let mut conn = server.connect();
    for n in 0..3 {
        // Without a daemon, the service continues.
        assert_eq!(conn.send(&batch_of(1, 1, 1)).ack(), 0);
        let daemon = UnixDatagram::bind(&syslog).unwrap();
        assert_eq!(server.connect().send(format!("to daemon {n}\n").as_bytes()).rest().len(), 12);
        receive_until(&daemon, &format!("| msg: to daemon {n}"));
        assert_eq!(conn.send(&batch_of(1, 4, 1)).ack(), 0);
        receive_until(&daemon, "action: apuesta_recibida | result: success | cantidad: 4");
        drop(daemon);
        fs::remove_file(&syslog).unwrap();
    }
    let log = server.stop();
    assert_eq!(log.matches("action: apuesta_recibida").count(), 6, "standard output has them all");
}

#[test]
fn an_unread_syslog_blocks_neither_service_nor_sigterm() {
    let setup = Setup::new(1).set("LOG_TARGET", "syslog");
    let syslog = setup.path("syslog");
    let _daemon = UnixDatagram::bind(&syslog).unwrap();
    let mut server = setup.set("SYSLOG_SOCKET", syslog.display()).spawn();
    let mut conn = Conn::to(listening_port(server.pid()));
    for _ in 0..10 {
        assert_eq!(conn.send(&batch_of(1, 255, 1)).ack(), 0);
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.rows().len(), 2550);
}

fn receive(daemon: &UnixDatagram) -> String {
    let mut packet = [0; 8192];
    daemon.set_read_timeout(Some(PATIENCE)).unwrap();
    let len = loop {
        match daemon.recv(&mut packet) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            received => break received.unwrap(),
        }
    };
    String::from_utf8(packet[..len].to_vec()).unwrap()
}

#[track_caller]
fn receive_until(daemon: &UnixDatagram, text: &str) -> String {
    loop {
        let packet = receive(daemon);
        if packet.contains(text) {
            return packet;
        }
    }
}

/// `<PRIORITY>Mmm dd hh:mm:ss server[PID]: TEXT`.
#[track_caller]
fn assert_from(packet: &str, pid: i32, text: &str) {
    assert!(
        packet.starts_with('<') && packet.contains(&format!(" server[{pid}]: ")) && packet.contains(text),
        "{packet}"
    );
}

// ---- helpers -----------------------------------------------------------------------------------------------------

/// A setup without settings: empty variables count as unset.
fn without_variables() -> Setup {
    ["CLIENT_AMOUNT", "SERVER_PORT", "LOGGING_LEVEL"].iter().fold(Setup::new(0), |setup, key| setup.set(key, ""))
}

/// Uses the default storage path, in the test's directory.
fn here(setup: Setup) -> Setup {
    fs::create_dir_all(setup.path(".data")).unwrap();
    setup.set("STORAGE_FILEPATH", "")
}

fn assert_config_line(server: &Server, settings: &str) {
    let log = server.log();
    let line = log.lines().next().unwrap();
    assert!(line.ends_with(&format!(" DEBUG    action: config | result: success | {settings}")), "{log}");
}

/// Runs a server that ends by itself; the flag is true if it has changed its directory.
fn run(setup: Setup) -> (Output, bool) {
    let before = tree(&setup.path(""));
    let mut process = Mortal(setup.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    (output(&mut process), tree(&setup.path("")) != before)
}

/// Waits for the end of a process with short output.
fn output(process: &mut Mortal) -> Output {
    let mut status = None;
    eventually("it ends", || {
        status = process.0.try_wait().unwrap();
        status.is_some()
    });
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    process.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    process.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status: status.unwrap(), stdout, stderr }
}

/// A process that is killed when this is dropped.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Checks that the server refuses to start with exit code 2 and changes no file. Returns its one line.
#[track_caller]
fn refused(setup: Setup) -> String {
    let (output, changed) = run(setup);
    let complaint = assert_one_line_and_code_2(output);
    assert!(!changed, "it has written something: {complaint}");
    complaint
}

/// The same for any command that changes no file.
#[track_caller]
fn one_line_and_code_2(mut command: Command) -> String {
    let mut process = Mortal(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_one_line_and_code_2(output(&mut process))
}

#[track_caller]
fn assert_one_line_and_code_2(output: Output) -> String {
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(2), "{stdout}{stderr}");
    assert_eq!((stdout.as_str(), stderr.lines().count(), stderr.ends_with('\n')), ("", 1, true), "{stderr}");
    stderr
}

/// Everything in a directory and below it: paths and contents.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        found.insert(path.display().to_string(), fs::read(&path).unwrap_or_default());
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found
}

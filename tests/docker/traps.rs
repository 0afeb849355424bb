//! Cases beyond the exercises: traps of Docker and compose, the containers' confinement, the health check, and the
//! commands of the README.

use std::fs;
use std::time::Duration;

use crate::engine::{PROJECT, eventually};
use crate::exercises::{agency_rows, await_listening, endless, stand_in};
use crate::grammar::read;
use crate::scratch::Scratch;
use crate::system::{Deployment, STORE, System};
use crate::{Case, case};

/// How long the echo test may take with a mute server: 5 s, and Docker's own part.
const SOON: Duration = Duration::from_secs(15);

pub fn cases() -> Vec<Case> {
    vec![
        case("a_line_is_read_as_the_course_reads_it", |_| lines_are_read()),
        case("the_branches_differ_only_in_the_mode", branches_differ_in_the_mode),
        case("a_missing_agency_file_is_an_error_and_not_a_directory", missing_agency_file),
        case("the_containers_are_confined", containers_are_confined),
        case("the_store_survives_a_crash_and_is_removed_by_down", store_outlives_a_crash),
        case("the_health_check_opens_no_connection", healthy_by_no_connection),
        case("a_server_that_does_not_listen_is_unhealthy", unhealthy_if_nothing_listens),
        case("a_mute_or_missing_server_fails_the_echo_test_soon", echo_test_fails_soon),
        case("the_commands_of_the_readme_work", commands_of_the_readme),
    ]
}

fn lines_are_read() {
    let event =
        read("\u{1b}[2Kclient1  | 2025-01-01 10:00:00 INFO     action: a | result: fail | k: v: w\n").unwrap().unwrap();
    assert!(event.is("client1", "a"));
    assert_eq!(
        (&*event.result, &event.fields["k: v"], event.time().to_string()),
        ("fail", &"w".to_owned(), "2025-01-01 10:00:00".to_owned())
    );
    let end = read("\u{1b}[2Kclient1 exited with code 137").unwrap().unwrap();
    assert!(end.is("client1", "exit") && end.result == "fail");
    assert_eq!(read("Attaching to client1, server"), Ok(None));
    for line in [
        "s | action: a",
        "s | action: a | result: ok",
        "s | action: a | result: fail | k",
        "s | action: a | result: fail | source: x",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}

fn branches_differ_in_the_mode(scratch: &Scratch) {
    let mode_of = |branch: &str| {
        let env = scratch.git(&["show", &format!("{branch}:.env")]);
        env.lines().find_map(|line| line.strip_prefix("CLI_MODE=")).unwrap().to_owned()
    };
    for (number, mode) in (1..).zip(["echo", "echo", "echo", "echo", "bet", "batch", "draw", "draw"]) {
        let branch = format!("ej{number}");
        assert_eq!(mode_of(&branch), mode);
        let changes = scratch.git(&["diff", "--numstat", "main", &branch]);
        assert_eq!(changes, if mode == mode_of("main") { "" } else { "1\t1\t.env\n" });
    }
}

/// A bind mount of a missing file would create a directory of its name, which would remain.
fn missing_agency_file(scratch: &Scratch) {
    let system = Deployment::new(scratch, 6, 1).up();

    assert_eq!(system.wait("client1"), 1);
    let log = system.log("client1");
    assert!(log.contains("agency-1.csv") && log.contains("| result: fail |"), "{log}");
    assert!(!system.agency_path(1).exists());
    assert!(system.is_running("server"));

    fs::write(system.agency_path(1), agency_rows(3, &[])).unwrap();
    system.compose(&["up", "-d"]);
    assert_eq!(system.wait("client1"), 0, "{}", system.log("client1"));
    assert_eq!(system.stored_rows().len(), 3);
    system.down(&[]);
}

fn containers_are_confined(scratch: &Scratch) {
    let system = Deployment::new(scratch, 4, 1).client(endless()).up();

    for (container, program) in [("server", "/usr/local/bin/server"), ("client1", "/usr/local/bin/client")] {
        // The program itself is the first process: it gets SIGTERM, not a shell.
        let words = system.exec(container, &["cat", "/proc/1/cmdline"]).stdout;
        assert_eq!(words.split('\0').next(), Some(program));
        let status = system.exec(container, &["cat", "/proc/1/status"]).stdout;
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("no {key}:\n{status}")).trim().to_owned()
        };
        assert!(value("Uid").split('\t').all(|uid| uid != "0"), "{}", value("Uid"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&value(set), 16), Ok(0), "{set} of {container}");
        }
        assert_eq!(value("NoNewPrivs"), "1", "{container}");
        let writable = system.inspect(container, "{{range .Mounts}}{{if .RW}}{{.Destination}} {{end}}{{end}}");
        assert_eq!(writable, "", "mounted for writing into {container}");
    }
    for path in ["/.data/x", "/tmp/x"] {
        let ran = system.exec("client1", &["touch", path]);
        assert!(ran.stderr.contains("Read-only file system"), "{path}: {:?} {}", ran.code, ran.stderr);
    }
    system.down(&[]);
}

fn store_outlives_a_crash(scratch: &Scratch) {
    let system = Deployment::new(scratch, 5, 1).up();
    assert_eq!(system.wait("client1"), 0, "{}", system.log("client1"));
    let stored = system.stored_rows();
    assert_eq!(stored.len(), 1);

    system.compose(&["restart", "server"]);
    assert_eq!(system.stored_rows(), stored);
    assert_eq!(system.run(&["docker", "kill", "server"]).code, Some(0));
    system.compose(&["up", "-d", "server"]);
    assert_eq!(system.stored_rows(), stored);

    system.compose(&["down", "-t", "10"]);
    system.assert_gone();
    system.compose(&["up", "-d", "server"]);
    let log = system.log("server");
    let ran = system.exec("server", &["cat", STORE]);
    assert_eq!(ran.stdout, "", "{log}");
    system.down(&[]);
}

fn healthy_by_no_connection(scratch: &Scratch) {
    let system = Deployment::new(scratch, 8, 1).agency(1, &agency_rows(3, &[1])).up_only("server");

    await_health(&system, "server", "healthy");
    let log = system.log("server");
    let actions = log.lines().filter_map(|line| line.split("action: ").nth(1)?.split(' ').next());
    assert_eq!(actions.collect::<Vec<_>>(), ["config", "listen", "accept_connections"], "{log}");
    system.compose(&["up", "-d"]);
    assert_eq!(system.wait("client1"), 0, "{}", system.log("client1"));
    system.down(&[]);
}

fn unhealthy_if_nothing_listens(scratch: &Scratch) {
    // On the system's network, where Docker's own resolver listens in every container.
    let system = Deployment::new(scratch, 7, 0).up();

    let idle = Removed { system: &system, name: &format!("{PROJECT}-idle") };
    let network = format!("{PROJECT}_testing_net");
    let begin = ["docker", "run", "--detach", "--name", idle.name, "--network", &network, "--entrypoint", "sleep"];
    let fast = ["--health-interval", "1s", "--health-retries", "1", "--health-start-period", "1ms"];
    let ran = system.run(&[&begin[..], &fast, &["server:latest", "600"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    await_health(&system, idle.name, "unhealthy");
    drop(idle);
    system.down(&[]);
}

/// A container outside the system, removed when this is dropped.
struct Removed<'a> {
    system: &'a System<'a>,
    name: &'a str,
}

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        self.system.run(&["docker", "rm", "--force", self.name]);
    }
}

#[track_caller]
fn await_health(system: &System<'_>, container: &str, due: &str) {
    eventually(due, || {
        let status = system.inspect(container, "{{.State.Health.Status}}");
        assert!([due, "starting"].contains(&&*status), "{status}: {}", system.log(container));
        status == due
    });
}

fn echo_test_fails_soon(scratch: &Scratch) {
    scratch.switch("ej3");
    let system = stand_in(scratch, "nc -l -p 12345 -e sleep 600");
    await_listening(&system);
    echo_test_fails(&system);
    assert_eq!(system.run(&["docker", "rm", "--force", "server"]).code, Some(0));
    echo_test_fails(&system);
    system.compose(&["down", "-t", "0"]);
    system.assert_gone();
    echo_test_fails(&system);
}

#[track_caller]
fn echo_test_fails(system: &System<'_>) {
    let ran = system.run(&["sh", "validar-echo-server.sh"]);
    assert_eq!(ran.stdout, "action: test_echo_server | result: fail\n", "{}", ran.stderr);
    assert_eq!(ran.code, Some(1));
    assert!(ran.took < SOON, "{:?}", ran.took);
}

fn commands_of_the_readme(scratch: &Scratch) {
    scratch.switch("main");
    let system = System::of_the_commands(scratch);
    system.make("docker-compose-up");

    let mut left = 5;
    let events = system.follow_by(&["make", "docker-compose-logs"]).until("every agency's winners", |event| {
        left -= u32::from(event.action == "consulta_ganadores");
        left == 0
    });
    for (id, winners) in (1..).zip([2, 3, 3, 2, 0]) {
        let source = format!("client{id}");
        let answer = events.iter().find(|event| event.is(&source, "consulta_ganadores")).unwrap();
        assert_eq!(answer.number("cant_ganadores"), winners, "{source}");
        assert_eq!(system.wait(&source), 0);
    }
    assert_eq!(system.run(&["./validar-echo-server.sh"]).stdout, "action: test_echo_server | result: success\n");
    let ran = system.run(&["docker", "compose", "down", "-t", "10"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    system.assert_gone();
}

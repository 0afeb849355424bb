//! The system in containers: prepared as the course does it, and removed when it is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::{self, BUILD_PATIENCE, PATIENCE, PROJECT, Ran, must};
use crate::follower::Follower;
use crate::scratch::Scratch;

const COMPOSE_FILE: &str = "docker-compose-dev.yaml";
/// Seconds that programs may take to stop before the engine kills them, as in the user's own command.
const GRACE: &str = "10";
/// The path of the bets in the server's container.
pub const STORE: &str = "/data/bets.csv";

/// The settings that the course writes into the server's file: only official keys.
#[derive(Clone, Copy)]
pub struct ServerFile {
    pub listen_backlog: u32,
    pub logging_level: &'static str,
}

impl Default for ServerFile {
    fn default() -> Self {
        Self { listen_backlog: 5, logging_level: "DEBUG" }
    }
}

/// The settings that the course writes into the clients' file: only official keys.
#[derive(Clone, Copy)]
pub struct ClientFile {
    pub loop_amount: u32,
    pub loop_period: &'static str,
    pub log_level: &'static str,
    pub max_amount: u32,
}

impl Default for ClientFile {
    fn default() -> Self {
        Self { loop_amount: 3, loop_period: "50ms", log_level: "INFO", max_amount: 10 }
    }
}

/// A system to be started. Its compose file exists already, the agencies' files do not.
pub struct Deployment<'a> {
    scratch: &'a Scratch,
    server: ServerFile,
    client: ClientFile,
    agencies: BTreeMap<u32, String>,
}

impl<'a> Deployment<'a> {
    /// Prepares the system on the branch of an exercise.
    pub fn new(scratch: &'a Scratch, exercise: u32, clients: u32) -> Self {
        scratch.switch(&format!("ej{exercise}"));
        let data = scratch.repo().join(".data");
        fs::create_dir_all(&data).unwrap();
        for file in fs::read_dir(data).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        must(&scratch.repo(), PATIENCE, &["bash", "generar-compose.sh", COMPOSE_FILE, &clients.to_string()]);
        let (server, client) = (ServerFile::default(), ClientFile::default());
        Self { scratch, server, client, agencies: BTreeMap::new() }
    }

    pub fn server(mut self, server: ServerFile) -> Self {
        self.server = server;
        self
    }

    pub fn client(mut self, client: ClientFile) -> Self {
        self.client = client;
        self
    }

    /// Sets the content of `.data/agency-ID.csv`.
    pub fn agency(mut self, id: u32, rows: &str) -> Self {
        self.agencies.insert(id, rows.to_owned());
        self
    }

    /// Starts the containers.
    #[track_caller]
    pub fn up(self) -> System<'a> {
        self.write();
        System::up(self.scratch, COMPOSE_FILE)
    }

    /// Starts only one service.
    #[track_caller]
    pub fn up_only(self, service: &str) -> System<'a> {
        self.write();
        let system = System::of_the_commands(self.scratch);
        system.compose(&["up", "-d", service]);
        system
    }

    /// Writes the configurations and the agencies' files.
    fn write(&self) {
        let ServerFile { listen_backlog, logging_level } = self.server;
        let ClientFile { loop_amount, loop_period, log_level, max_amount } = self.client;
        let repo = self.scratch.repo();
        let server = format!(
            "[DEFAULT]\nSERVER_PORT = 12345\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = {listen_backlog}\n\
             LOGGING_LEVEL = {logging_level}"
        );
        let client = format!(
            "server:\n  address: \"server:12345\"\nloop:\n  amount: {loop_amount}\n  period: \"{loop_period}\"\n\
             log:\n  level: \"{log_level}\"\nbatch:\n  maxAmount: {max_amount}\n"
        );
        fs::write(repo.join("server/config.ini"), server).unwrap();
        fs::write(repo.join("client/config.yaml"), client).unwrap();
        for (id, rows) in &self.agencies {
            fs::write(agency_path(&repo, *id), rows).unwrap();
        }
    }
}

fn agency_path(repo: &Path, id: u32) -> PathBuf {
    repo.join(format!(".data/agency-{id}.csv"))
}

/// Containers that may be running. Dropping it removes them, even after a failed case.
pub struct System<'a> {
    scratch: &'a Scratch,
    compose_file: String,
}

impl<'a> System<'a> {
    /// Starts the services of a compose file.
    #[track_caller]
    pub fn up(scratch: &'a Scratch, compose_file: &str) -> Self {
        let system = Self { scratch, compose_file: compose_file.to_owned() };
        system.compose(&["up", "-d"]);
        system
    }

    /// The system of the repository's compose file, which the case starts with its own commands.
    pub fn of_the_commands(scratch: &'a Scratch) -> Self {
        Self { scratch, compose_file: COMPOSE_FILE.to_owned() }
    }

    /// Starts to follow the logs.
    pub fn follow(&self) -> Follower {
        self.follow_by(&["docker", "compose", "-f", &self.compose_file, "logs", "-f"])
    }

    /// The same by another command.
    pub fn follow_by(&self, words: &[&str]) -> Follower {
        Follower::start(&self.scratch.repo(), words)
    }

    /// Runs a make target that may build the images.
    #[track_caller]
    pub fn make(&self, target: &str) {
        must(&self.scratch.repo(), BUILD_PATIENCE, &["make", target]);
    }

    #[track_caller]
    pub fn compose(&self, words: &[&str]) -> String {
        let begin = ["docker", "compose", "-f", &self.compose_file];
        must(&self.scratch.repo(), PATIENCE, &[&begin, words].concat())
    }

    /// Runs a command of the repository.
    pub fn run(&self, words: &[&str]) -> Ran {
        engine::run(&self.scratch.repo(), PATIENCE, words)
    }

    /// Runs a command in a container.
    pub fn exec(&self, container: &str, words: &[&str]) -> Ran {
        self.run(&[&["docker", "exec", container], words].concat())
    }

    /// Waits for a container's end and returns its exit code.
    #[track_caller]
    pub fn wait(&self, container: &str) -> i32 {
        must(&self.scratch.repo(), PATIENCE, &["docker", "wait", container]).trim().parse().unwrap()
    }

    /// Runs `docker stop` for a container and returns how long that took.
    #[track_caller]
    pub fn stop(&self, container: &str) -> Duration {
        let ran = self.run(&["docker", "stop", "-t", "20", container]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.took
    }

    /// A property of a container; `what` is a template for `docker inspect`.
    #[track_caller]
    pub fn inspect(&self, container: &str, what: &str) -> String {
        must(&self.scratch.repo(), PATIENCE, &["docker", "inspect", "--format", what, container]).trim().to_owned()
    }

    #[track_caller]
    pub fn is_running(&self, container: &str) -> bool {
        self.inspect(container, "{{.State.Running}}") == "true"
    }

    #[track_caller]
    pub fn exit_code(&self, container: &str) -> i32 {
        self.inspect(container, "{{.State.ExitCode}}").parse().unwrap()
    }

    /// All output of a container.
    #[track_caller]
    pub fn log(&self, container: &str) -> String {
        let ran = self.run(&["docker", "logs", container]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout + &ran.stderr
    }

    /// The stored bets, sorted: agencies store in any order.
    #[track_caller]
    pub fn stored_rows(&self) -> Vec<String> {
        let ran = self.exec("server", &["cat", STORE]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let mut rows: Vec<_> = ran.stdout.split_terminator("\r\n").map(str::to_owned).collect();
        rows.sort_unstable();
        rows
    }

    /// The agency's file on the host.
    pub fn agency_path(&self, id: u32) -> PathBuf {
        agency_path(&self.scratch.repo(), id)
    }

    /// Stops and removes everything. Each program must end with its code in `codes`, or else with 0, and nothing may
    /// remain.
    #[track_caller]
    pub fn down(self, codes: &[(&str, i32)]) {
        self.compose(&["stop", "-t", GRACE]);
        for name in self.compose(&["ps", "--all", "--format", "{{.Name}}"]).split_whitespace() {
            let due = codes.iter().find(|(of, _)| *of == name).map_or(0, |(_, code)| *code);
            assert_eq!(self.exit_code(name), due, "exit code of {name}\n{}", self.log(name));
        }
        self.compose(&["down"]);
        self.assert_gone();
    }

    /// No container, network or volume of the system is left.
    #[track_caller]
    pub fn assert_gone(&self) {
        let of_project = format!("label=com.docker.compose.project={PROJECT}");
        for kind in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
            let begin = [&["docker"], kind, &["--quiet", "--filter", &of_project]].concat();
            assert_eq!(must(&self.scratch.repo(), PATIENCE, &begin), "", "not removed: {kind:?}");
        }
    }
}

impl Drop for System<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.run(&["docker", "compose", "-f", &self.compose_file, "logs"]).stdout.lines() {
                eprintln!("    {line}");
            }
        }
        self.run(&["docker", "compose", "-f", &self.compose_file, "down", "-t", "0", "--volumes", "--remove-orphans"]);
    }
}

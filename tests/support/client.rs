//! A client process: how it is configured and started, what it logs, and how it ends.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{PATIENCE, QUIET, assert_well_formed, clean_command, client_binary};

/// A client to be started, in a temporary directory of its own.
pub struct ClientSetup {
    home: TempDir,
    command: Command,
    terminal: Option<OwnedFd>,
}

impl ClientSetup {
    /// Agency 1, every line logged, no pauses, in an empty directory.
    pub fn new(mode: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let command = clean_command::<&str>(&[], client_binary(), home.path());
        Self { home, command, terminal: None }
            .set("ID", "1")
            .set("MODE", mode)
            .set("LOG_LEVEL", "DEBUG")
            .set("LOOP_PERIOD", "0s")
    }

    /// Sets `CLI_{key}`.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.variable(&format!("CLI_{key}"), value)
    }

    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn server(self, address: SocketAddr) -> Self {
        self.set("SERVER_ADDRESS", &address.to_string())
    }

    /// Writes a file into the client's directory.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Writes the agency's file to the path where the client looks for it.
    pub fn bets(self, text: impl AsRef<[u8]>) -> Self {
        self.file(".data/agency-1.csv", text)
    }

    /// Starts it by way of a program that finally executes its remaining arguments in the same process.
    pub fn under(mut self, program: &[&str]) -> Self {
        let mut command = clean_command(program, client_binary(), self.home.path());
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Makes this terminal its standard error.
    pub fn terminal(mut self, terminal: OwnedFd) -> Self {
        self.terminal = Some(terminal);
        self
    }

    /// Runs it to its end, for output that is not a log.
    pub fn output(mut self) -> Output {
        self.command.output().unwrap()
    }

    pub fn start(mut self) -> Client {
        let stderr = self.terminal.map_or_else(Stdio::piped, Stdio::from);
        let mut child = self.command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let errors = child.stderr.take();
        let stderr =
            thread::spawn(move || errors.and_then(|errors| io::read_to_string(errors).ok()).unwrap_or_default());
        Client { child, lines, log: Vec::new(), stderr: Some(stderr), _home: self.home }
    }
}

/// A running client. Dropping it kills and reaps the process.
pub struct Client {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    stderr: Option<JoinHandle<String>>,
    _home: TempDir,
}

impl Client {
    /// Waits for a line that contains `text`.
    pub fn line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(e) => panic!("no line with {text:?} ({e}) in {:#?}", self.log),
            }
        }
    }

    /// It logs nothing for a while, and does not end.
    pub fn is_quiet(&self) -> bool {
        matches!(self.lines.recv_timeout(QUIET), Err(RecvTimeoutError::Timeout))
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Sends SIGTERM and checks that it ends in order and in time.
    pub fn stop(self) -> ClientEnd {
        let began = Instant::now();
        self.signal(Signal::SIGTERM);
        let ended = self.end();
        // One second is promised; a busy machine gets some more.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {ended:#?}", began.elapsed());
        ended.succeeded();
        ended
    }

    /// Waits for its end, and checks the form of its log.
    pub fn end(mut self) -> ClientEnd {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the client does not end: {:#?}", self.log),
            }
        }
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let ended = ClientEnd { status, log: std::mem::take(&mut self.log), stderr };
        assert_well_formed(&ended.log.iter().map(|line| format!("{line}\n")).collect::<String>());
        ended
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // For a test that has failed; otherwise the client has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a client ended.
#[derive(Debug)]
pub struct ClientEnd {
    pub status: ExitStatus,
    pub log: Vec<String>,
    pub stderr: String,
}

impl ClientEnd {
    /// The exit code; -1 for a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Exit code 0, the last line of a success, and no failure before it.
    pub fn succeeded(&self) {
        assert_eq!(self.code(), 0, "{self:#?}");
        assert!(self.log.last().unwrap().ends_with("INFO     action: exit | result: success"), "{self:#?}");
        assert!(!self.log.concat().contains("result: fail"), "{self:#?}");
        assert_eq!(self.stderr, "");
    }

    /// Exit code `code`, and a last line that reports a failure and contains each of `texts`.
    pub fn failed(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code(), code, "{self:#?}");
        let last = self.log.last().unwrap();
        assert!(last.contains("| result: fail | error: "), "{self:#?}");
        assert!(texts.iter().all(|text| last.contains(text)), "{texts:?} in {last}");
        assert_eq!(self.stderr, "");
    }

    /// How many lines contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.contains(text)).count()
    }

    /// The number of the first line that contains `text`.
    pub fn position(&self, text: &str) -> usize {
        let found = self.log.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text:?} in {self:#?}"))
    }
}

//! A server process: how it is configured and started, what it leaves in its directory, and how it ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// A `SHUTDOWN_GRACE` longer than [`PATIENCE`]: a server that waits for all of it has failed.
pub const FOREVER: &str = "600s";
/// The line of a draw that was held.
pub const SORTEO: &str = "action: sorteo | result: success";

/// A server to be started, in a temporary directory of its own.
pub struct Setup {
    dir: TempDir,
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
    under: Vec<String>,
}

impl Setup {
    /// For `agencies`, at level DEBUG, on any free port.
    pub fn new(agencies: u32) -> Self {
        let variables = BTreeMap::new();
        Self { dir: tempfile::tempdir().unwrap(), variables, arguments: Vec::new(), under: Vec::new() }
            .set("CLIENT_AMOUNT", agencies)
            .set("SERVER_PORT", 0)
            .set("LOGGING_LEVEL", "DEBUG")
    }

    /// Sets a variable.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.variables.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds a command-line argument.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it by way of a program that finally executes its remaining arguments in the same process.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under.extend(program.iter().map(|&word| word.to_owned()));
        self
    }

    /// Forgets the arguments and the program of [`Setup::under`].
    pub fn plain(mut self) -> Self {
        self.arguments.clear();
        self.under.clear();
        self
    }

    /// The path of a file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command; its standard output and error are not set yet.
    pub fn command(&self) -> Command {
        let mut command = clean_command(&self.under, server_binary(), self.dir.path());
        command.args(&self.arguments).env("STORAGE_FILEPATH", self.path("bets.csv")).envs(&self.variables);
        command
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Server {
        let log = self.path("server.log");
        let mut server = self.spawn();
        server.await_port();
        assert!(log.exists());
        server
    }

    /// Starts it and does not wait.
    pub fn spawn(self) -> Server {
        let log = File::options().create(true).append(true).open(self.path("server.log")).unwrap();
        let log_start = log.metadata().unwrap().len();
        let child = self.command().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Server { setup: self, child, port: 0, log_start }
    }
}

/// A running server. Dropping it kills and reaps the process.
pub struct Server {
    setup: Setup,
    child: Child,
    port: u16,
    /// Bytes that earlier servers in the same directory have logged.
    log_start: u64,
}

impl Server {
    /// Starts one for `agencies` with no other settings.
    pub fn start(agencies: u32) -> Self {
        Setup::new(agencies).start()
    }

    fn await_port(&mut self) {
        let port = poll_until(PATIENCE, || {
            let log = self.own_log();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended at its start: {status}\n{log}");
            }
            let (_, port) = log.rsplit_once("action: listen | result: success | port: ")?;
            Some(port.split_once('\n')?.0.parse().unwrap())
        });
        self.port = port.unwrap_or_else(|| panic!("the server does not listen:\n{}", self.own_log()));
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    // ---- its files ----

    /// The path of a file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.setup.path(name)
    }

    pub fn bets_path(&self) -> PathBuf {
        self.path("bets.csv")
    }

    /// The bytes of `bets.csv`; none if it does not exist.
    pub fn bets(&self) -> Vec<u8> {
        fs::read(self.bets_path()).unwrap_or_default()
    }

    /// The rows of `bets.csv` without their line ends. Names with line ends would be split.
    pub fn rows(&self) -> Vec<String> {
        let text = String::from_utf8(self.bets()).unwrap();
        assert!(text.is_empty() || text.ends_with("\r\n"), "a row is torn");
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    /// The log of all servers in this directory.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// The log of this server only.
    pub fn own_log(&self) -> String {
        self.log().split_off(self.log_start.try_into().unwrap())
    }

    #[track_caller]
    pub fn await_log(&self, text: &str) {
        let logged = poll_until(PATIENCE, || self.own_log().contains(text).then_some(()));
        assert!(logged.is_some(), "never logged: {text}\n{}", self.own_log());
    }

    // ---- its connections ----

    pub fn connect(&self) -> Conn {
        Conn::to(self.port)
    }

    /// A new connection that has claimed `agency`.
    #[track_caller]
    pub fn claim(&self, agency: u32) -> Conn {
        let mut conn = self.connect();
        conn.send(&count(agency)).tally(agency);
        conn
    }

    /// The answer to a message 6 for `agency` on a new connection: bets, whether it has ended, CRC-32.
    #[track_caller]
    pub fn tally(&self, agency: u32) -> (u64, bool, u32) {
        self.connect().send(&count(agency)).tally(agency)
    }

    /// The answer to `message` on a new connection: the code of a confirmation.
    #[track_caller]
    pub fn store(&self, message: &[u8]) -> u8 {
        self.connect().send(message).ack()
    }

    /// A new connection and its child, for a server without other children.
    pub fn connect_and_find_child(&self) -> (Conn, i32) {
        let conn = self.connect();
        eventually("a child", || self.children().len() == 1);
        (conn, self.children()[0])
    }

    /// The same; the connection has claimed `agency`.
    pub fn claim_and_find_child(&self, agency: u32) -> (Conn, i32) {
        let (mut conn, child) = self.connect_and_find_child();
        conn.send(&count(agency)).tally(agency);
        (conn, child)
    }

    /// The server's end of a connection, as long as it exists.
    pub fn end_of(&self, conn: &Conn) -> Option<Socket> {
        let remote = conn.port();
        sockets().into_iter().find(|socket| (socket.local, socket.remote) == (self.port, remote))
    }

    /// Waits until the server has read everything that arrived over the connection.
    #[track_caller]
    pub fn await_read(&self, conn: &Conn) {
        eventually("all is read", || self.end_of(conn).is_some_and(|end| end.inode != 0 && end.unread == 0));
    }

    // ---- its processes ----

    /// Its living children and zombies.
    pub fn children(&self) -> Vec<i32> {
        children_of(self.pid())
    }

    /// Waits until no child is left, not even a zombie.
    #[track_caller]
    pub fn await_childless(&self) {
        eventually("no child is left", || self.children().is_empty());
    }

    /// Waits until the parent has exactly these descriptors.
    #[track_caller]
    pub fn await_descriptors(&self, expected: &BTreeMap<i32, String>) {
        let mut open = BTreeMap::new();
        poll_until(PATIENCE, || {
            open = descriptors(self.pid());
            (open == *expected).then_some(())
        });
        assert_eq!(open, *expected);
    }

    // ---- its end ----

    pub fn signal(&self, signal: &str) {
        send_signal(self.pid(), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    /// The same, where the time is promised.
    #[track_caller]
    pub fn wait_within(&mut self, time: Duration) -> ExitStatus {
        let ended = poll_until(time, || self.child.try_wait().unwrap());
        let Some(status) = ended else { panic!("the server does not end within {time:?}:\n{}", self.log()) };
        status
    }

    /// Sends SIGTERM and checks an orderly end: exit code 0, the right last line, every line well formed. Returns the
    /// log.
    #[track_caller]
    pub fn stop(self) -> String {
        self.stop_and_keep().0
    }

    /// The same; also returns the setup, which can be started again on the same files.
    #[track_caller]
    pub fn stop_and_keep(mut self) -> (String, Setup) {
        self.signal("TERM");
        let status = self.wait();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.trim_end().ends_with("action: exit | result: success"), "{log}");
        assert_well_formed(&log);
        (log, std::mem::replace(&mut self.setup, Setup::new(0)))
    }

    /// Sends SIGKILL and waits until the server and its children are gone. Returns the setup, which can be started
    /// again on the same files.
    pub fn kill(mut self) -> Setup {
        let children = self.children();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        eventually("the children die with their parent", || children.iter().all(|&pid| !is_alive(pid)));
        std::mem::replace(&mut self.setup, Setup::new(0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

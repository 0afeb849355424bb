//! For black-box tests of the server: starts the real binary on a free port in a directory of its own, and speaks raw
//! bytes, written from the protocol's description alone. Point `LOTERIA_SERVER` at any other server to judge that.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

pub mod ext4;
mod lines;
mod ports;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use lines::*;
pub use ports::*;

/// How long anything that must happen may take: far longer than it does, so that a slow machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often a file or a process is looked at while something is awaited that gives no other sign.
pub const GLANCE: Duration = Duration::from_millis(1);

pub const SORTEO: &str = "action: sorteo | result: success";

/// The server's binary.
pub fn server_binary() -> PathBuf {
    std::env::var_os("LOTERIA_SERVER").map_or_else(|| env!("CARGO_BIN_EXE_server").into(), PathBuf::from)
}

/// The client's: the one that Cargo has just built, or `LOTERIA_CLIENT`.
pub fn client_binary() -> PathBuf {
    std::env::var_os("LOTERIA_CLIENT").map_or_else(|| env!("CARGO_BIN_EXE_client").into(), PathBuf::from)
}

/// Copies a program to where it can be started.
///
/// Trap: had this process the copy open, a child that another of its threads forks just then would have it, too, and the
/// kernel executes nothing that is open for writing.
pub fn install(from: &Path, to: &Path) {
    assert!(Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success());
}

/// What `look` finds within `time`, if it does.
pub fn poll_until<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(GLANCE);
    }
}

/// Waits until `what` holds.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(PATIENCE, what, holds);
}

/// The same, where how long it may take is promised.
#[track_caller]
pub fn within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let held = poll_until(time, || holds().then_some(()));
    assert!(held.is_some(), "not within {time:?}: {what}");
}

/// A server to be started.
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

    /// Starts it by way of a program that in the end executes what follows its own arguments, in the same process.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under.extend(program.iter().map(|&word| word.to_owned()));
        self
    }

    /// Without arguments, and by way of nothing.
    pub fn plain(mut self) -> Self {
        self.arguments.clear();
        self.under.clear();
        self
    }

    /// Where its files are.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command, standard output not yet set.
    pub fn command(&self) -> Command {
        let mut words = self.under.iter().map(OsString::from).chain([server_binary().into()]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(&self.arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("STORAGE_FILEPATH", self.path("bets.csv"))
            .envs(&self.variables);
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

/// A server that runs; killed and reaped when dropped.
pub struct Server {
    setup: Setup,
    child: Child,
    port: u16,
    /// Bytes that earlier servers of the same set-up have logged.
    log_start: u64,
}

impl Server {
    /// With `agencies` and nothing else set.
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.setup.path(name)
    }

    pub fn bets_path(&self) -> PathBuf {
        self.path("bets.csv")
    }

    /// `bets.csv` as it stands.
    pub fn bets(&self) -> Vec<u8> {
        fs::read(self.bets_path()).unwrap_or_default()
    }

    /// The rows of `bets.csv`, line ends taken off; names are plain in most tests.
    pub fn rows(&self) -> Vec<String> {
        let text = String::from_utf8(self.bets()).unwrap();
        assert!(text.is_empty() || text.ends_with("\r\n"), "a row is torn");
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// The log without that of earlier servers on the same files.
    pub fn own_log(&self) -> String {
        self.log().split_off(self.log_start.try_into().unwrap())
    }

    #[track_caller]
    pub fn await_log(&self, text: &str) {
        let logged = poll_until(PATIENCE, || self.own_log().contains(text).then_some(()));
        assert!(logged.is_some(), "never logged: {text}\n{}", self.own_log());
    }

    pub fn connect(&self) -> Conn {
        Conn::to(self.port)
    }

    /// The server's end of a connection, as long as it is there.
    pub fn end_of(&self, conn: &Conn) -> Option<Socket> {
        let remote = conn.0.local_addr().unwrap().port();
        sockets().into_iter().find(|socket| (socket.local, socket.remote) == (self.port, remote))
    }

    /// Waits until the server has taken all that came over the connection.
    #[track_caller]
    pub fn await_read(&self, conn: &Conn) {
        eventually("all is read", || self.end_of(conn).is_some_and(|end| end.inode != 0 && end.unread == 0));
    }

    /// Its living children and zombies.
    pub fn children(&self) -> Vec<i32> {
        children_of(self.pid())
    }

    /// Waits until no child is left, not even a zombie.
    #[track_caller]
    pub fn await_alone(&self) {
        eventually("no child is left", || self.children().is_empty());
    }

    /// Waits until it has these descriptors, and no others.
    #[track_caller]
    pub fn await_descriptors(&self, expected: &BTreeMap<i32, String>) {
        let mut open = BTreeMap::new();
        poll_until(PATIENCE, || {
            open = descriptors(self.pid());
            (open == *expected).then_some(())
        });
        assert_eq!(open, *expected);
    }

    pub fn signal(&self, signal: &str) {
        send_signal(self.pid(), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    /// The same, where how long it may take is promised.
    #[track_caller]
    pub fn wait_within(&mut self, time: Duration) -> ExitStatus {
        let ended = poll_until(time, || self.child.try_wait().unwrap());
        let Some(status) = ended else { panic!("the server does not end within {time:?}:\n{}", self.log()) };
        status
    }

    /// SIGTERM; the exit code must be 0, the last line say so, and every line be well formed. Returns the log.
    #[track_caller]
    pub fn stop(self) -> String {
        self.stop_and_keep().0
    }

    /// The same, and what can be started again on the same files.
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

    /// SIGKILL, and everything of it is gone. What can be started again on the same files.
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

/// A client's connection.
pub struct Conn(pub TcpStream);

impl Conn {
    pub fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Takes hardly more from the server than is read: for clients that read slowly, or never.
    pub fn narrow(port: u16) -> Self {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};
        use std::os::fd::AsRawFd;
        let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        setsockopt(&stream, sockopt::RcvBuf, &4096).unwrap();
        connect(stream.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
        let stream = TcpStream::from(stream);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.write_all(bytes).unwrap();
        self
    }

    pub fn send_bytewise(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.send(std::slice::from_ref(byte));
        }
        self
    }

    /// Ends this side of the stream.
    pub fn finish(&mut self) -> &mut Self {
        self.0.shutdown(Shutdown::Write).unwrap();
        self
    }

    #[track_caller]
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        if let Err(e) = self.0.read_exact(&mut bytes) {
            panic!("no answer: {e:?}");
        }
        bytes
    }

    /// All until the server closes; a reset is an error.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(e) = self.0.read_to_end(&mut bytes) {
            panic!("no end of the stream behind {bytes:?}: {e:?}");
        }
        bytes
    }

    /// The code of a confirmation.
    #[track_caller]
    pub fn ack(&mut self) -> u8 {
        let [kind, code] = self.take();
        assert_eq!(kind, 2, "a confirmation");
        code
    }

    /// The documents that won; `None` for "not drawn".
    #[track_caller]
    pub fn winners(&mut self) -> Option<Vec<u32>> {
        let [kind] = self.take();
        if kind == 4 {
            return None;
        }
        assert_eq!(kind, 5, "winners");
        let count = u32::from_be_bytes(self.take());
        Some((0..count).map(|_| u32::from_be_bytes(self.take())).collect())
    }

    /// (bets, ended, CRC) of a message 7 for `agency`.
    #[track_caller]
    pub fn received(&mut self, agency: u32) -> (u64, bool, u32) {
        assert_eq!(self.take(), [7]);
        assert_eq!(u32::from_be_bytes(self.take()), agency);
        let count = u64::from_be_bytes(self.take());
        let [ended] = self.take();
        (count, ended == 1, u32::from_be_bytes(self.take()))
    }

    /// All until the connection is over, closed or reset.
    pub fn rest_or_reset(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("still open: {e}"),
            _ => bytes,
        }
    }

    /// Nothing has arrived, and for `time` nothing does.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let silent = loop {
            match self.0.peek(&mut [0]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                peeked => {
                    break matches!(peeked, Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()));
                }
            }
        };
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Closes with a reset.
    pub fn reset(self) {
        use nix::sys::socket::{setsockopt, sockopt};
        setsockopt(&self.0, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }
}

// ---- messages ----

pub struct Bet<'a> {
    pub first: &'a [u8],
    pub last: &'a [u8],
    pub document: u32,
    pub birthdate: &'a [u8],
    pub number: u32,
}

impl Default for Bet<'_> {
    fn default() -> Self {
        Self { first: b"Ana", last: b"Paz", document: 30_904_465, birthdate: b"1999-03-17", number: 1 }
    }
}

fn cstr(text: &[u8]) -> Vec<u8> {
    [text, b"\0"].concat()
}

fn pstr(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

impl Bet<'_> {
    pub fn in_batch(&self) -> Vec<u8> {
        let (document, number) = (self.document.to_be_bytes(), self.number.to_be_bytes());
        [&cstr(self.first)[..], &cstr(self.last), &document, &cstr(self.birthdate), &number].concat()
    }

    pub fn single(&self, agency: u32) -> Vec<u8> {
        let (document, number) = (self.document.to_be_bytes(), self.number.to_be_bytes());
        let agency = agency.to_be_bytes();
        [&agency[..], &pstr(self.first), &pstr(self.last), &document, &pstr(self.birthdate), &number].concat()
    }
}

pub fn untyped_batch(agency: u32, bets: &[Bet<'_>]) -> Vec<u8> {
    let encoded: Vec<u8> = bets.iter().flat_map(Bet::in_batch).collect();
    [&agency.to_be_bytes()[..], &[bets.len() as u8], &encoded].concat()
}

/// Type 1.
pub fn batch(agency: u32, bets: &[Bet<'_>]) -> Vec<u8> {
    let encoded: Vec<u8> = bets.iter().flat_map(Bet::in_batch).collect();
    [&[1][..], &agency.to_be_bytes(), &[bets.len() as u8], &encoded].concat()
}

/// `n` bets of documents 0, 1, … on `number`, as one batch of type 1.
pub fn batch_of(agency: u32, n: u32, number: u32) -> Vec<u8> {
    let bets: Vec<_> = (0..n).map(|document| Bet { document, number, ..Bet::default() }).collect();
    batch(agency, &bets)
}

/// Type 1 without bets.
pub fn end(agency: u32) -> Vec<u8> {
    batch(agency, &[])
}

/// Type 3.
pub fn ask(agency: u32) -> Vec<u8> {
    [&[3][..], &agency.to_be_bytes()].concat()
}

/// Type 6.
pub fn count(agency: u32) -> Vec<u8> {
    [&[6][..], &agency.to_be_bytes()].concat()
}

// ---- processes ----

/// Living children and zombies of a process of one thread, oldest first.
pub fn children_of(parent: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        Ok(pids) => pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect(),
        Err(_) if state(parent).is_none() => Vec::new(),
        // This kernel does not tell them.
        Err(_) => {
            let processes = fs::read_dir("/proc").unwrap();
            let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
            pids.filter(|&pid| stat(pid).is_some_and(|fields| fields[1].parse() == Ok(parent))).collect()
        }
    }
}

/// Stops the process, then its children, which are returned; a system call that one is in may still end.
pub fn freeze(parent: i32) -> Vec<i32> {
    let stop = |pid| {
        let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
        let deadline = Instant::now() + PATIENCE;
        while matches!(state(pid), Some('R' | 'S')) && Instant::now() < deadline {}
    };
    stop(parent);
    let children = children_of(parent);
    children.iter().copied().for_each(stop);
    children
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

/// The memory of a process that it shares with no file, in kB.
pub fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// User and system time that the process has had, in clock ticks.
pub fn cpu_ticks(pid: i32) -> u64 {
    stat(pid).map_or(0, |fields| fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum())
}

/// For a second none of the processes does anything to speak of.
#[track_caller]
pub fn assert_idle(pids: &[i32]) {
    // Whatever was still to be done.
    std::thread::sleep(Duration::from_millis(300));
    let before: Vec<_> = pids.iter().map(|&pid| cpu_ticks(pid)).collect();
    std::thread::sleep(Duration::from_secs(1));
    for (&pid, before) in pids.iter().zip(before) {
        let ticks = cpu_ticks(pid).saturating_sub(before);
        // A process that spins has 100 of them, or what others leave it.
        assert!(ticks < 10, "process {pid} has used {ticks} ticks in a second");
    }
}

/// `/proc/PID/stat` from the state on.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// The letter of the process's state: R, S, T, Z …; `None` once it is reaped.
pub fn state(pid: i32) -> Option<char> {
    stat(pid)?[0].chars().next()
}

/// What the process has open, as its links in /proc say: descriptor and target.
pub fn descriptors(pid: i32) -> BTreeMap<i32, String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeMap::new() };
    let fds = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let target = fs::read_link(&path).ok()?;
        Some((path.file_name()?.to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
    });
    fds.collect()
}

pub fn send_signal(pid: i32, signal: &str) {
    let signal = format!("SIG{signal}").parse::<Signal>().unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// The kernel's entry for one TCP socket of this machine.
pub struct Socket {
    pub local: u16,
    pub remote: u16,
    pub inode: u64,
    /// Bytes that its peer has not taken yet.
    pub unsent: u64,
    /// Bytes that its process has not taken yet.
    pub unread: u64,
}

/// All TCP sockets over IPv4 of the network that this thread is in.
pub fn sockets() -> Vec<Socket> {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let entries = table.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |address: &str| hex(address.split_once(':').unwrap().1).try_into().unwrap();
        let (unsent, unread) = fields[4].split_once(':').unwrap();
        let (local, remote) = (port(fields[1]), port(fields[2]));
        Socket { local, remote, inode: fields[9].parse().unwrap(), unsent: hex(unsent), unread: hex(unread) }
    });
    entries.collect()
}

/// The port of a server that does not say it: what the process listens on, once it does.
#[track_caller]
pub fn listening_port(pid: i32) -> u16 {
    let port = poll_until(PATIENCE, || {
        let open: Vec<_> = descriptors(pid).into_values().collect();
        let listening = |socket: &Socket| socket.remote == 0 && open.contains(&format!("socket:[{}]", socket.inode));
        sockets().into_iter().find(listening).map(|socket| socket.local)
    });
    let Some(port) = port else { panic!("process {pid} does not listen") };
    port
}

/// Whether this machine has the program.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Tells that something was not tested, past the harness, which would swallow it.
pub fn skipped(what: &str, why: &str) {
    // In one piece, or the harness's lines come in between.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {what}: {why}\n").as_bytes());
}

/// The name of the test that runs in this thread.
pub fn this_test() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// After the line of the settings there is one more, which names `what`, and then nothing.
#[track_caller]
pub fn assert_one_complaint(log: &str, what: &str) {
    assert_well_formed(log);
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("action: config | result: success"), "{log}");
    assert!(lines[1].contains("CRITICAL action: exit | result: fail | error: ") && lines[1].contains(what), "{log}");
}

/// A file of the test's own.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
}

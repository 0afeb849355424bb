//! What `tests/client.rs` plays with: a client process, and the peer that talks to it in raw bytes.
//!
//! Owns the process, its log, and the byte layouts, written here a second time on purpose. Everything that is awaited
//! has one generous bound, [`PATIENCE`]; nothing sleeps for an event. Which binary is judged: `LOTERIA_CLIENT`, or the
//! one that Cargo has just built.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must happen where that is the point; a slow machine makes such a check weaker, never wrong.
const QUIET: Duration = Duration::from_millis(150);

/// A client that has not been started.
pub struct Setup {
    home: TempDir,
    command: Command,
    terminal: Option<OwnedFd>,
}

impl Setup {
    /// Agency 1, every line logged, no pauses; in an empty folder, with nothing of this process's environment.
    pub fn new(mode: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(crate::support::client_binary());
        command.env_clear().current_dir(home.path());
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

    /// Writes a file into the client's folder.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Writes the agency's file to where the client looks for it.
    pub fn bets(self, text: impl AsRef<[u8]>) -> Self {
        self.file(".data/agency-1.csv", text)
    }

    /// Its standard error is this terminal.
    pub fn terminal(mut self, terminal: OwnedFd) -> Self {
        self.terminal = Some(terminal);
        self
    }

    /// Runs it to its end, for what is no log.
    pub fn output(mut self) -> Output {
        self.command.output().unwrap()
    }

    pub fn start(mut self) -> Client {
        let stderr = self.terminal.map_or_else(Stdio::piped, Stdio::from);
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let errors = child.stderr.take();
        let stderr =
            thread::spawn(move || errors.and_then(|errors| io::read_to_string(errors).ok()).unwrap_or_default());
        Client { child, lines, log: Vec::new(), stderr: Some(stderr), _home: self.home }
    }
}

/// A running client.
pub struct Client {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    stderr: Option<JoinHandle<String>>,
    _home: TempDir,
}

impl Client {
    /// Waits for a line that holds `text`.
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

    /// It says nothing for a while, and does not end.
    pub fn is_quiet(&self) -> bool {
        matches!(self.lines.recv_timeout(QUIET), Err(RecvTimeoutError::Timeout))
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Asks it to stop, and expects that it does, in order.
    pub fn stop(self) -> Ended {
        let began = Instant::now();
        self.signal(Signal::SIGTERM);
        let ended = self.end();
        // Promised is 1 s; a busy machine gets some more.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {ended:#?}", began.elapsed());
        ended.succeeded();
        ended
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
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
        let ended = Ended { status, log: std::mem::take(&mut self.log), stderr };
        ended.log.iter().for_each(|line| check_grammar(line));
        ended
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // For a test that failed; otherwise it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a client ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: Vec<String>,
    pub stderr: String,
}

impl Ended {
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Exit code 0 and the line that belongs to it.
    pub fn succeeded(&self) {
        assert_eq!(self.code(), 0, "{self:#?}");
        assert!(self.log.last().unwrap().ends_with("INFO     action: exit | result: success"), "{self:#?}");
        assert!(!self.log.concat().contains("result: fail"), "{self:#?}");
        assert_eq!(self.stderr, "");
    }

    /// Exit code `code`, and one line that fails, the last one, which holds each of `texts`.
    pub fn failed(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code(), code, "{self:#?}");
        let last = self.log.last().unwrap();
        assert!(last.contains("| result: fail | error: "), "{self:#?}");
        assert!(texts.iter().all(|text| last.contains(text)), "{texts:?} in {last}");
        assert_eq!(self.stderr, "");
    }

    /// How many lines hold `text`.
    pub fn count(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.contains(text)).count()
    }

    pub fn position(&self, text: &str) -> usize {
        let found = self.log.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text:?} in {self:#?}"))
    }
}

/// `YYYY-MM-DD HH:MM:SS LEVEL     action: X | result: Y | key: value | …`
fn check_grammar(line: &str) {
    let shape: String = line.chars().take(20).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00 00:00:00 ", "{line}");
    let (level, event) = line[20..].split_at(9);
    assert!(["CRITICAL ", "ERROR    ", "WARNING  ", "INFO     ", "DEBUG    "].contains(&level), "{line}");
    let fields: Vec<_> = event.split(" | ").map(|field| field.split_once(": ")).collect();
    assert!(fields.iter().all(Option::is_some) && fields.len() >= 2, "{line}");
    let names: Vec<_> = fields.iter().flatten().map(|(name, _)| *name).collect();
    assert_eq!(names[..2], ["action", "result"], "{line}");
    assert!(!names[2..].iter().any(|name| ["action", "result", "source"].contains(name)), "{line}");
    assert!(["success", "fail", "in_progress"].contains(&fields[1].unwrap().1), "{line}");
}

/// The server that a test plays.
pub struct Server(TcpListener);

impl Server {
    pub fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection.
    pub fn accept(&self) -> Peer {
        assert!(ready(&self.0, PATIENCE), "nobody connects");
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer(BufReader::new(stream))
    }

    /// Nobody connects for a while.
    pub fn is_quiet(&self) -> bool {
        !ready(&self.0, QUIET)
    }
}

/// A port that is taken, and on which nobody listens yet.
pub struct Reserved(OwnedFd);

impl Reserved {
    pub fn new() -> Self {
        let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        socket::bind(socket.as_raw_fd(), &any).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        let own: SockaddrIn = socket::getsockname(self.0.as_raw_fd()).unwrap();
        SocketAddrV4::from(own).into()
    }

    pub fn listen(self) -> Server {
        socket::listen(&self.0, Backlog::new(16).unwrap()).unwrap();
        Server(self.0.into())
    }

    /// Listens, but so that the kernel does not answer the next one who connects. The connections that fill the queue
    /// are returned.
    pub fn listen_and_ignore(self) -> (Server, Vec<TcpStream>) {
        socket::listen(&self.0, Backlog::new(0).unwrap()).unwrap();
        let server = Server(self.0.into());
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&server.address(), QUIET) {
            queue.push(stream);
        }
        (server, queue)
    }
}

/// One connection of a client.
pub struct Peer(BufReader<TcpStream>);

impl Peer {
    /// The next `len` bytes.
    pub fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Everything up to the end of the stream; a reset is an end, too.
    pub fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => bytes,
            Err(e) => panic!("{e}"),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.get_mut().write_all(bytes).unwrap();
        self
    }

    /// Ends this side of the stream alone.
    pub fn finish(&mut self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        socket::setsockopt(self.0.get_ref(), sockopt::Linger, &at_once).unwrap();
    }

    /// Nothing comes for a while.
    pub fn is_quiet(&self) -> bool {
        self.0.buffer().is_empty() && !ready(self.0.get_ref(), QUIET)
    }

    /// The next line, its line feed included.
    pub fn text(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// The next typed message.
    pub fn message(&mut self) -> Message {
        self.try_message().unwrap()
    }

    /// The same; the client may have gone away instead.
    pub fn try_message(&mut self) -> io::Result<Message> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head)?;
        assert_eq!(head[1..], 1_u32.to_be_bytes(), "the agency");
        Ok(match head[0] {
            1 => self.batch(6),
            3 => Message::Winners,
            6 => Message::Received,
            other => panic!("type {other}"),
        })
    }

    /// The next untyped batch.
    pub fn untyped_batch(&mut self) -> Vec<Bet> {
        assert_eq!(self.read(4), 1_u32.to_be_bytes(), "the agency");
        match self.batch(5) {
            Message::Batch(bets) => bets,
            other => panic!("{other:?}"),
        }
    }

    /// The bets of a batch behind `header` bytes, whose last one, the count, has not been read yet.
    fn batch(&mut self, header: usize) -> Message {
        let count = self.read(1)[0];
        let bets: Vec<Bet> = (0..count).map(|_| self.bet()).collect();
        let len: usize = bets.iter().map(|bet| bet.first.len() + bet.last.len() + 21).sum();
        assert!(header + len <= 8000, "a packet of {} bytes", header + len);
        if count == 0 { Message::End } else { Message::Batch(bets) }
    }

    fn bet(&mut self) -> Bet {
        let (first, last) = (self.cstr(30), self.cstr(30));
        let document = self.u32();
        let birthdate = self.cstr(11);
        Bet { first, last, document, birthdate, number: self.u32() }
    }

    fn cstr(&mut self, max: usize) -> String {
        let mut text = Vec::new();
        self.0.read_until(0, &mut text).unwrap();
        assert!(text.len() <= max && text.pop() == Some(0), "{text:?}");
        String::from_utf8(text).unwrap()
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.read(4).try_into().unwrap())
    }
}

fn ready(fd: impl AsFd, patience: Duration) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    events::wait(&mut fds, Some(Instant::now() + patience)).unwrap() > 0
}

/// What a client of exercises 7 and 8 says, for agency 1.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Batch(Vec<Bet>),
    End,
    Winners,
    Received,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bet {
    pub first: String,
    pub last: String,
    pub document: u32,
    pub birthdate: String,
    pub number: u32,
}

/// `count` rows of an agency's file; row i has document i.
pub fn rows(count: u32) -> String {
    (0..count).map(|i| format!("Ñata {i},Paz,{i},1999-03-17,7574\r\n")).collect()
}

/// The first `count` of them as they stand in bets.csv.
pub fn stored_rows(count: u32) -> String {
    (0..count).map(|i| format!("1,Ñata {i},Paz,{i},1999-03-17,7574\r\n")).collect()
}

/// Message 2.
pub fn confirmation(code: u8) -> [u8; 2] {
    [2, code]
}

/// Message 5.
pub fn winners(documents: &[u32]) -> Vec<u8> {
    let count = u32::try_from(documents.len()).unwrap();
    let numbers = [count].into_iter().chain(documents.iter().copied());
    [5].into_iter().chain(numbers.flat_map(u32::to_be_bytes)).collect()
}

/// Message 7 for agency 1: `count` bets, whether it has ended, the checksum of `rows`.
pub fn received(count: u64, ended: bool, rows: &str) -> Vec<u8> {
    let crc = crc32fast::hash(rows.as_bytes());
    [&[7, 0, 0, 0, 1][..], &count.to_be_bytes(), &[u8::from(ended)], &crc.to_be_bytes()].concat()
}

/// What a server of this protocol knows of agency 1.
#[derive(Debug, Default)]
pub struct Ledger {
    pub rows: String,
    pub documents: Vec<u32>,
    pub ended: bool,
}

impl Ledger {
    /// Stores what `message` brings.
    pub fn store(&mut self, message: &Message) {
        match message {
            Message::Batch(bets) => {
                assert!(!self.ended, "bets after the end");
                for Bet { first, last, document, birthdate, number } in bets {
                    self.documents.push(*document);
                    self.rows += &format!("1,{first},{last},{document},{birthdate},{number}\r\n");
                }
            }
            Message::End => self.ended = true,
            Message::Winners => assert!(self.ended, "a query before the end"),
            Message::Received => {}
        }
    }

    /// What `message` is answered.
    pub fn answer(&self, message: &Message) -> Vec<u8> {
        match message {
            Message::Batch(_) | Message::End => confirmation(0).to_vec(),
            Message::Winners => winners(&[3, 1]),
            Message::Received => received(self.documents.len() as u64, self.ended, &self.rows),
        }
    }

    /// Stores and answers the next message of `peer`, and returns it.
    pub fn serve(&mut self, peer: &mut Peer) -> Message {
        let message = peer.message();
        self.store(&message);
        peer.send(&self.answer(&message));
        message
    }

    /// Serves `peer` up to its query, that included.
    pub fn serve_all(&mut self, peer: &mut Peer) {
        while self.serve(peer) != Message::Winners {}
    }
}

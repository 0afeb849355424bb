//! Redis with an append-only file that it syncs every second.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::find_in_path;
use crate::Result;
use crate::process::{Ready, Role, Running, free_port, tied};
use crate::stop::Stop;
use crate::traffic::{all_at_once, connect};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Redis, and the commands of each agency.
pub struct Redis {
    server: Running,
    commands: Vec<Vec<Vec<u8>>>,
    bets: usize,
}

impl Redis {
    /// Starts it, with batches of `most` of each agency's `rows`. Returns `None` if it is not installed.
    pub fn start(rows: &[Vec<String>], most: u8, stop: &Stop) -> Result<Option<Self>> {
        let Some(program) = find_in_path("redis-server") else { return Ok(None) };
        let port = free_port()?;
        let mut command = tied(&Role::Program(program.as_os_str()))?;
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "everysec"]);
        let server = Running::start(command, tempfile::tempdir()?, &Ready::Port(port), (stop, PATIENCE))?;
        let batches = |rows: &Vec<String>| rows.chunks(most.into()).map(rpush).collect();
        Ok(Some(Self { server, commands: rows.iter().map(batches).collect(), bets: rows.iter().map(Vec::len).sum() }))
    }

    /// Sends the batches of all agencies `repeat` times, with at most `in_flight` commands without an answer. Returns the
    /// time, and removes the bets.
    pub fn play(&mut self, repeat: u32, in_flight: usize, limit: (&Stop, Duration)) -> Result<Duration> {
        let port = self.server.port();
        let start = Instant::now();
        all_at_once(&mut self.server, limit, &self.commands, |commands| send(port, commands, repeat, in_flight))?;
        let took = start.elapsed();
        let mut connection = Connection::open(port)?;
        let (stored, sent) = (connection.ask(&command(&["LLEN", "bets"]))?, self.bets * repeat as usize);
        if stored != format!(":{sent}") {
            return Err(format!("Redis: {sent} bets were sent, but LLEN answers {stored}").into());
        }
        connection.ask(&command(&["FLUSHALL"]))?;
        Ok(took)
    }
}

fn send(port: u16, commands: &[Vec<u8>], repeat: u32, in_flight: usize) -> io::Result<()> {
    let mut connection = Connection::open(port)?;
    let mut open = 0;
    for command in (0..repeat).flat_map(|_| commands) {
        if open == in_flight {
            connection.answer()?;
            open -= 1;
        }
        connection.0.get_mut().write_all(command)?;
        open += 1;
    }
    (0..open).try_for_each(|_| connection.answer().map(drop))
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> io::Result<Self> {
        Ok(Self(BufReader::new(connect(port)?)))
    }

    fn ask(&mut self, command: &[u8]) -> io::Result<String> {
        self.0.get_mut().write_all(command)?;
        self.answer()
    }

    /// An answer of one line, without its line end.
    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) if line.starts_with([':', '+']) => Ok(line.to_owned()),
            _ => Err(io::Error::other(format!("Redis answers {line:?}"))),
        }
    }
}

fn rpush(rows: &[String]) -> Vec<u8> {
    let words: Vec<&str> = ["RPUSH", "bets"].into_iter().chain(rows.iter().map(String::as_str)).collect();
    command(&words)
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

//! The floor: the least that a server of this architecture can do. The real server is compared with it.
//!
//! Owns a server that forks a child per connection with the project's own mechanism, and leaves out everything that it
//! can. Started by [`super::traffic`] as a process of its own (the same program, executed again), because only a
//! process with one thread may fork. It parses nothing: each message follows its length, and its type is one byte. The
//! additional work of the project's own fork, such as closing inherited descriptors, is part of the floor.
//!
//! | message | the child |
//! |---|---|
//! | batch | locks with flock(2), writes its bytes with one write(2), unlocks, acknowledges |
//! | end | syncs with fdatasync(2), as the real server must; acknowledges |
//! | query for winners | waits until every agency has ended; answers that there are none |
//! | `hola\n` ([`Work::Echo`]) | sends it back and exits |

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use ipc::events::{self, PollFd, PollFlags};
use ipc::process::{self, Handover};
use ipc::signals::{Signal, SignalSource};

/// Bytes of the length before each message. The length does not include itself.
pub const PREFIX: usize = size_of::<u32>();
/// The file of the bets, in the working directory.
pub const FILE: &str = "bets.csv";
/// The message of an echo client, and its answer.
pub const ECHO: &[u8; 5] = b"hola\n";

/// Most bytes of a message with its prefix. The clients send at most 8000.
const BUFFER: usize = 16 * 1024;
/// The type byte of a batch.
const BATCH: u8 = 1;
/// Position of the type byte in a frame.
const TYPE_AT: usize = PREFIX;
/// Position of the number of bets in the frame of a batch. The end of an agency has 0 bets.
const COUNT_AT: usize = PREFIX + 5;
const ACKNOWLEDGEMENT: &[u8] = &[2, 0];
const NO_WINNERS: &[u8] = &[5, 0, 0, 0, 0];
/// Exit code of a child whose connection failed.
const BROKEN: u8 = 1;

/// The work of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The bets of this many agencies, with one connection per agency.
    Bets(u32),
    /// One line of text per connection.
    Echo,
}

/// Serves on a free port until SIGTERM. Prints the port in the same log line as the real server.
pub fn run(work: Work) -> io::Result<()> {
    let stop = SignalSource::subscribe(&[Signal::SIGTERM])?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    io::stdout().write_all(format!("action: listen | result: success | port: {port}\n").as_bytes())?;
    let mut ends = Ends::new(work)?;
    while wait(&listener, &stop)? == Wake::Connection {
        let (client, _) = listener.accept()?;
        process::spawn(Session { client, ends: ends.next()? }, &[], |session, _| session.serve())?;
        while process::reap().is_some() {}
    }
    drop(ends);
    while nix::sys::wait::wait().is_ok() {}
    Ok(())
}

/// The event that ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Connection,
    Stop,
}

fn wait(listener: &TcpListener, stop: &SignalSource) -> io::Result<Wake> {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    events::wait(&mut fds, None)?;
    Ok(if fds[1].any() == Some(false) { Wake::Connection } else { Wake::Stop })
}

/// A pipe that reports to the children when all agencies have ended. Each child holds the writing end until its own
/// agency has ended, and the parent holds it until the last agency has connected. Then the reading end is at its end of
/// file.
struct Ends {
    all_ended: PipeReader,
    writer: Option<PipeWriter>,
    agencies: u32,
}

impl Ends {
    fn new(work: Work) -> io::Result<Self> {
        let (all_ended, writer) = io::pipe()?;
        let agencies = match work {
            Work::Bets(agencies) => agencies,
            Work::Echo => 0,
        };
        Ok(Self { all_ended, writer: (agencies > 0).then_some(writer), agencies })
    }

    /// Both ends of the pipe for the next child; `None` if no more agencies are expected.
    fn next(&mut self) -> io::Result<Option<(PipeReader, PipeWriter)>> {
        let Some(writer) = &self.writer else { return Ok(None) };
        let pair = (self.all_ended.try_clone()?, writer.try_clone()?);
        self.agencies -= 1;
        self.writer.take_if(|_| self.agencies == 0);
        Ok(Some(pair))
    }
}

/// The connection of a child.
struct Session {
    client: TcpStream,
    /// `None` for an echo.
    ends: Option<(PipeReader, PipeWriter)>,
}

impl Handover for Session {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let ends = self.ends.iter().flat_map(|(all_ended, not_ended)| [all_ended.as_fd(), not_ended.as_fd()]);
        ends.chain([self.client.as_fd()]).collect()
    }
}

impl Session {
    /// Serves the connection. Returns the child's exit code.
    fn serve(self) -> u8 {
        let served = match self.ends {
            None => echo(self.client),
            Some(ends) => store(self.client, ends),
        };
        served.map_or(BROKEN, |()| 0)
    }
}

fn echo(mut client: TcpStream) -> io::Result<()> {
    let mut text = *ECHO;
    client.read_exact(&mut text)?;
    client.write_all(&text)
}

fn store(mut client: TcpStream, (mut all_ended, not_ended): (PipeReader, PipeWriter)) -> io::Result<()> {
    client.set_nodelay(true)?;
    let file = OpenOptions::new().create(true).append(true).open(FILE)?;
    let mut not_ended = Some(not_ended);
    let mut frames = Frames { buffer: [0; BUFFER], start: 0, end: 0 };
    while let Some(frame) = frames.next(&mut client)? {
        let answer = match (frame.get(TYPE_AT), frame.get(COUNT_AT)) {
            (Some(&BATCH), Some(1..)) => append(&file, frame)?,
            (Some(&BATCH), _) => {
                file.sync_data()?;
                not_ended = None;
                ACKNOWLEDGEMENT
            }
            _ => {
                all_ended.read_to_end(&mut Vec::new())?;
                NO_WINNERS
            }
        };
        client.write_all(answer)?;
    }
    drop(not_ended);
    Ok(())
}

/// Uses the lock of the standard library, which waits in the kernel. The project's own lock does not.
fn append(mut file: &File, frame: &[u8]) -> io::Result<&'static [u8]> {
    file.lock()?;
    let written = file.write(frame)?;
    file.unlock()?;
    if written == frame.len() { Ok(ACKNOWLEDGEMENT) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The received bytes. Usually one read(2) returns one message.
struct Frames {
    buffer: [u8; BUFFER],
    start: usize,
    end: usize,
}

impl Frames {
    /// The next message with its prefix; `None` at the end of the stream.
    fn next(&mut self, client: &mut TcpStream) -> io::Result<Option<&[u8]>> {
        loop {
            let arrived = &self.buffer[self.start..self.end];
            if let Some(len) = frame_len(arrived).filter(|&len| len <= arrived.len()) {
                self.start += len;
                return Ok(Some(&self.buffer[self.start - len..self.start]));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match client.read(&mut self.buffer[self.end..])? {
                0 => return Ok(None),
                len => self.end += len,
            }
        }
    }
}

fn frame_len(arrived: &[u8]) -> Option<usize> {
    let prefix = arrived.first_chunk::<PREFIX>()?;
    usize::try_from(u32::from_be_bytes(*prefix)).ok().map(|len| PREFIX + len)
}

//! The floor: the least that a server of this architecture can do, to measure the real one against.
//!
//! Owns a server that forks a child per connection with the project's own mechanism, and does nothing else that can be
//! left out. Run by [`super`] as a process of its own (this same program, executed anew), since only a process with a
//! single thread may fork. Parses nothing: each message comes behind its length, and its kind is one byte. What the
//! project's own fork does beside fork(2), such as closing what a child inherits, is part of the floor, too.
//!
//! | message | the child |
//! |---|---|
//! | batch | flock(2), one write(2) of its bytes, unlock, acknowledges |
//! | end | fdatasync(2), which the real server owes there, too; acknowledges |
//! | query for winners | waits until every agency has ended, and tells of none |
//! | `hola\n` ([`Work::Echo`]) | gives it back and exits |

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use ipc::events::{self, PollFd, PollFlags};
use ipc::process::{self, Handover};
use ipc::signals::{Signal, SignalSource};
use nix::sys::wait;

/// Bytes of the length in front of each message, which counts what follows.
pub const PREFIX: usize = size_of::<u32>();
/// Where bets go, in the working directory.
pub const FILE: &str = "bets.csv";
/// What an echo client sends, and gets back.
pub const ECHO: &[u8; 5] = b"hola\n";

/// Most bytes of a message with its prefix; the bench sends at most 8000.
const BUFFER: usize = 16 * 1024;
/// The type byte of a batch, and where that is in a frame; so is the number of bets, of which an agency's end has none.
const BATCH: u8 = 1;
const KIND_AT: usize = PREFIX;
const COUNT_AT: usize = PREFIX + 5;
const ACKNOWLEDGEMENT: &[u8] = &[2, 0];
const NO_WINNERS: &[u8] = &[5, 0, 0, 0, 0];
/// Exit code of a child whose connection broke.
const BROKEN: u8 = 1;

/// What connections bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The bets of this many agencies, one connection each.
    Bets(u32),
    /// A line of text each.
    Echo,
}

/// Serves on a free port, which it tells in the line that the real server has for that, until SIGTERM.
pub fn run(work: Work) -> io::Result<()> {
    let stop = SignalSource::subscribe(&[Signal::SIGTERM])?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    io::stdout().write_all(format!("action: listen | result: success | port: {port}\n").as_bytes())?;
    let mut ends = Ends::new(work)?;
    while awaits_connection(&listener, &stop)? {
        let (client, _) = listener.accept()?;
        process::spawn(Given { client, ends: ends.next()? }, &[], |given, _| given.serve())?;
        while process::reap().is_some() {}
    }
    drop(ends);
    while wait::wait().is_ok() {}
    Ok(())
}

/// True for a connection, false for the end.
fn awaits_connection(listener: &TcpListener, stop: &SignalSource) -> io::Result<bool> {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    events::wait(&mut fds, None)?;
    Ok(!fds[1].any().unwrap_or(true))
}

/// How children learn that all agencies have ended without being told: each holds the pipe's writing end until its own
/// has, and so does the parent until the last one has connected. Then it has an end of stream.
struct Ends {
    all_ended: PipeReader,
    still_to_come: Option<PipeWriter>,
    agencies: u32,
}

impl Ends {
    fn new(work: Work) -> io::Result<Self> {
        let (all_ended, writer) = io::pipe()?;
        let agencies = match work {
            Work::Bets(agencies) => agencies,
            Work::Echo => 0,
        };
        Ok(Self { all_ended, still_to_come: (agencies > 0).then_some(writer), agencies })
    }

    /// For the next child; `None` where none is to come.
    fn next(&mut self) -> io::Result<Option<(PipeReader, PipeWriter)>> {
        let Some(writer) = &self.still_to_come else { return Ok(None) };
        let pair = (self.all_ended.try_clone()?, writer.try_clone()?);
        self.agencies -= 1;
        self.still_to_come.take_if(|_| self.agencies == 0);
        Ok(Some(pair))
    }
}

/// A child's connection; `None` for an echo.
struct Given {
    client: TcpStream,
    ends: Option<(PipeReader, PipeWriter)>,
}

impl Handover for Given {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let ends = self.ends.iter().flat_map(|(all_ended, not_ended)| [all_ended.as_fd(), not_ended.as_fd()]);
        ends.chain([self.client.as_fd()]).collect()
    }
}

impl Given {
    /// Returns the child's exit code.
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
        let answer = match (frame.get(KIND_AT), frame.get(COUNT_AT)) {
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

/// The standard library's lock: waits in the kernel, as the project's own does not.
fn append(mut file: &File, frame: &[u8]) -> io::Result<&'static [u8]> {
    file.lock()?;
    let written = file.write(frame)?;
    file.unlock()?;
    if written == frame.len() { Ok(ACKNOWLEDGEMENT) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// What has arrived; most often one read(2) brings one message.
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

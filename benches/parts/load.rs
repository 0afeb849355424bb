//! One run of the agencies' files: a fresh server, its clients, and a check that every acknowledged bet is stored.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::bench::Bench;
use super::rounds::Sample;
use super::servers::{PATIENCE, Server};
use crate::Result;
use crate::floor;
use crate::process::{Ready, Role, Running, tied};
use crate::report::names;
use crate::stop::Stop;
use crate::traffic::{Agency, Programs, Times, Window, all_at_once};

/// Most bets in a batch: as many of the longest ones as the assignment's 8 kB hold.
pub const BATCH: u8 = 99;
/// Time limit of a run, and of each repetition of the files. A longer run hangs.
const LIMIT: Duration = Duration::from_secs(60);
const LIMIT_PER_REPETITION: Duration = Duration::from_secs(10);

/// Bets a second until the last one is acknowledged; time until the last winners; processor time of the server.
pub const QUANTITIES: [(&str, &str); 3] =
    [(names::STORED, "1000/s"), ("winners known", "ms"), ("processor time of the server", "ms")];

/// The way from the clients to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// 127.0.0.1.
    Direct,
    /// Through the relay, which delays.
    Relay,
}

/// The agencies' files, each sent `repeat` times.
pub struct Load<'a> {
    stop: &'a Stop,
    agencies: Vec<Agency>,
    /// Keeps the files.
    _dir: TempDir,
    paths: Vec<PathBuf>,
    repeat: u32,
    most: u8,
}

impl<'a> Load<'a> {
    /// The files, with batches of at most `most` bets.
    pub fn new(bench: &'a Bench, repeat: u32, most: u8) -> Result<Self> {
        let encoded = bench.files.encoded()?;
        let agencies = encoded.iter().zip(1..).map(|(bets, id)| Agency::new(id, bets, most)).collect();
        let (dir, paths) = bench.files.repeated(repeat)?;
        Ok(Self { stop: &bench.stop, agencies, _dir: dir, paths, repeat, most })
    }

    /// Number of bets.
    pub fn bets(&self) -> usize {
        self.total(|agency| agency.bets)
    }

    /// The load in words.
    pub fn title(&self) -> String {
        let (bets, batches, repeat) = (self.bets(), self.total(Agency::batches), self.repeat);
        format!("five files × {repeat}, {bets} bets in {batches} batches")
    }

    /// The limit of a run.
    pub fn limit(&self) -> (&'a Stop, Duration) {
        (self.stop, LIMIT + LIMIT_PER_REPETITION * self.repeat)
    }

    /// Bets a second, in thousands.
    pub fn rate(&self, took: Duration) -> f64 {
        self.bets() as f64 / took.as_secs_f64() / 1e3
    }

    /// The minimal clients against `server`.
    pub fn minimal(&self, server: Server, way: Way) -> Result<Sample<3>> {
        let mut running = server.start(self.stop)?;
        let relay = self.relay(way, running.port())?;
        let port = relay.as_ref().unwrap_or(&running).port();
        let target = (port, server.framing());
        let times = all_at_once(&mut running, self.limit(), &self.agencies, |agency| agency.play(target, self.repeat))?;
        self.check_stored(&running, server)?;
        let [stored, answered] = spans(&times);
        Ok([self.rate(stored), ms(answered), ms(running.stop()?)])
    }

    /// The project's clients against `server`. Their time is that from the start of the first process to the end of the
    /// last one.
    pub fn own(&self, server: Server, window: Window, way: Way) -> Result<Sample<3>> {
        let running = server.start(self.stop)?;
        let relay = self.relay(way, running.port())?;
        let port = relay.as_ref().unwrap_or(&running).port();
        self.programs((running, server), port, (window, None))
    }

    /// As [`Load::own`] with the default window, over TLS with the certificates in `folder`.
    pub fn own_tls(&self, server: Server, folder: &Path) -> Result<Sample<3>> {
        let file = |name| folder.join(name).display().to_string();
        let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(file);
        let settings = [("TLS_CERTIFICATE", certificate), ("TLS_KEY", key), ("TLS_AGENCY_CA", ca)];
        let running = server.start_in(tempfile::tempdir()?, &settings, (self.stop, PATIENCE))?;
        let port = running.port();
        self.programs((running, server), port, (Window::Default, Some(folder)))
    }

    fn programs(
        &self,
        (running, server): (Running, Server),
        port: u16,
        (window, tls): (Window, Option<&Path>),
    ) -> Result<Sample<3>> {
        let took = Programs::play(port, &self.paths, (window, self.most, tls), self.limit())?;
        self.check_stored(&running, server)?;
        Ok([self.rate(took), ms(took), ms(running.stop()?)])
    }

    fn relay(&self, way: Way, server: u16) -> Result<Option<Running>> {
        if way == Way::Direct {
            return Ok(None);
        }
        let mut command = tied(&Role::Own)?;
        command.args(["relay", &server.to_string()]);
        Ok(Some(Running::start(command, tempfile::tempdir()?, &Ready::Logged, (self.stop, PATIENCE))?))
    }

    /// Counts the rows of the project's server, and the bytes of a floor.
    fn check_stored(&self, running: &Running, server: Server) -> Result<()> {
        let file = running.dir().join(floor::FILE);
        let (stored, sent) = match server {
            Server::Own { .. } => (count_lines(File::open(file)?)?, self.bets()),
            Server::Floor(_) => (fs::metadata(file)?.len().try_into()?, self.total(Agency::bytes)),
        };
        if stored == sent { Ok(()) } else { Err(format!("{sent} were sent, but {stored} are stored").into()) }
    }

    fn total(&self, number: impl Fn(&Agency) -> usize) -> usize {
        self.agencies.iter().map(number).sum::<usize>() * self.repeat as usize
    }
}

/// Number of line ends in `file`.
pub fn count_lines(mut file: File) -> io::Result<usize> {
    let mut buffer = vec![0; 1 << 20];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(lines),
            len => lines += memchr::memchr_iter(b'\n', &buffer[..len]).count(),
        }
    }
}

/// A time in milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The time from the first connection to the last acknowledged batch, and to the last answer.
fn spans(times: &[Times]) -> [Duration; 2] {
    let start = times.iter().map(|times| times.start).min();
    let until = |point: fn(&Times) -> Instant| {
        let last = times.iter().map(point).max();
        last.zip(start).map_or(Duration::ZERO, |(last, start)| last - start)
    };
    [until(|times| times.stored), until(|times| times.answered)]
}

//! Two servers with one client: starts either as a process in a directory of its own, and drives both alike.
//!
//! Owns the processes (tied to this one, stopped in order or killed by pid) and the clients (threads). Used by
//! [`super`]; knows nothing of runs and tables.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::RwLock;
use std::thread;
use std::time::{Duration, Instant};

use ipc::events::PollFlags;
use loteria::agency::batches::{Batches, Limits};
use loteria::agency::reader::Reader;
use loteria::agency::stop::StopSignal;
use loteria::bet::AgencyId;
use loteria::protocol::typed;
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{self, Signal};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Result;
use super::floor::{self, Work};

/// Most bets in a batch: what the assignment's 8 kB hold.
const BATCH: u8 = 99;
/// How long a process may take to listen, and to end; far longer than it does.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it does.
const GLANCE: Duration = Duration::from_millis(2);
/// Beginning of the first argument of this program where it is executed anew as one of the servers.
const TIED: &str = "--tied-to=";
const SERVER: &str = "server";
const ECHO: &str = "echo";

/// What is measured, and what against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The project's server.
    Server,
    /// The least that it could be.
    Floor,
}

impl Side {
    /// Where a frame begins for this side: the real protocol has no length in front of its messages.
    fn skipped(self) -> usize {
        match self {
            Self::Server => floor::PREFIX,
            Self::Floor => 0,
        }
    }
}

// ---- processes ----

/// The other life of this program: where its first argument says so, it becomes a server and returns how that ended.
///
/// A way round [`CommandExt::pre_exec`], which is unsafe: what ties a process to its parent survives its exec(3).
pub fn tied_life() -> Option<Result<()>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next()?.strip_prefix(TIED)?.parse().ok()?;
    Some(live_tied(parent, &arguments.next()?))
}

fn live_tied(parent: u32, what: &str) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if parent_id() != parent {
        return Err("the parent is gone".into());
    }
    match what {
        SERVER => Err(Command::new(env!("CARGO_BIN_EXE_server")).exec().into()),
        ECHO => Ok(floor::run(Work::Echo)?),
        agencies => Ok(floor::run(Work::Bets(agencies.parse()?))?),
    }
}

/// A server that runs; killed and reaped when dropped, its directory removed.
pub struct Running {
    process: Child,
    port: u16,
    dir: TempDir,
}

impl Running {
    /// Starts `side` in a fresh directory and waits until it listens.
    pub fn start(side: Side, work: Work) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let process = command(side, work, dir.path())?.spawn()?;
        let mut running = Self { process, port: 0, dir };
        running.port = running.await_port()?;
        Ok(running)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it has stored bets.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join(floor::FILE)
    }

    fn await_port(&mut self) -> Result<u16> {
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait()?.is_none() && Instant::now() < deadline {
            let log = fs::read_to_string(log_file(self.dir.path()))?;
            let told =
                log.split_once("action: listen | result: success | port: ").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((port, _)) = told {
                return Ok(port.parse()?);
            }
            thread::sleep(GLANCE);
        }
        Err(format!("a server does not listen:\n{}", fs::read_to_string(log_file(self.dir.path()))?).into())
    }

    /// Ends it in order; returns the processor time in milliseconds that it and its children have used in all.
    pub fn stop(mut self) -> Result<f64> {
        let before = reaped_ms()?;
        signal::kill(Pid::from_raw(self.pid().try_into()?), Signal::SIGTERM)?;
        let status = self.await_end()?;
        if !status.success() {
            return Err(format!("a server ended with {status}").into());
        }
        Ok(reaped_ms()? - before)
    }

    fn await_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(GLANCE);
        }
        Err("a server does not end".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it was stopped it is reaped already: then neither does anything.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(side: Side, work: Work, dir: &Path) -> Result<Command> {
    let log = File::create(log_file(dir))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(format!("{TIED}{}", std::process::id())).arg(match (side, work) {
        (Side::Server, _) => SERVER.to_owned(),
        (Side::Floor, Work::Echo) => ECHO.to_owned(),
        (Side::Floor, Work::Bets(agencies)) => agencies.to_string(),
    });
    if let Work::Bets(agencies) = work {
        command.env("CLIENT_AMOUNT", agencies.to_string());
    }
    let settings = [("SERVER_PORT", "0"), ("LOGGING_LEVEL", "INFO"), ("STORAGE_FILEPATH", floor::FILE)];
    command.envs(settings).current_dir(dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

/// Processor time of all children reaped so far, and of theirs.
fn reaped_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e3)
}

// ---- clients ----

/// One agency's traffic, encoded before any clock starts.
pub struct Agency {
    id: AgencyId,
    /// Messages behind their length.
    batches: Vec<Vec<u8>>,
    /// Bets in them.
    pub bets: usize,
}

/// When an agency's conversation reached which point.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// It connects.
    pub began: Instant,
    /// Its last batch with bets is acknowledged.
    pub stored: Instant,
    /// It has its winners.
    pub answered: Instant,
}

impl Agency {
    /// Reads `path`, the file of the agency with this number.
    pub fn load(id: u32, path: &Path, stop: &StopSignal) -> Result<Self> {
        let id = AgencyId::new(id).ok_or("0 is no agency")?;
        let reader = Reader::open(id, path, stop)?;
        let mut file = Batches::new(reader, Limits { bets: BATCH, header: typed::BATCH_HEADER });
        let mut agency = Self { id, batches: Vec::new(), bets: 0 };
        while let Some(bets) = file.next_batch()? {
            agency.bets += bets.len();
            agency.batches.push(frame(&typed::encode_batch(id, bets)));
        }
        Ok(agency)
    }

    /// How many batches it sends.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Bytes of the batches as the floor stores them.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// Plays the agency, its file `repeat` times over: each batch waits for the acknowledgement of the one before.
    pub fn play(&self, port: u16, side: Side, repeat: u32) -> io::Result<Times> {
        let began = Instant::now();
        let mut server = connect(port)?;
        let stored = self.send_bets(&mut server, side, repeat)?;
        self.ask(&mut server, side)?;
        await_winners(&mut server)?;
        Ok(Times { began, stored, answered: Instant::now() })
    }

    /// Plays it up to the question for its winners, whose answer is not awaited: the connection.
    pub fn play_and_wait(&self, port: u16, side: Side) -> io::Result<TcpStream> {
        let mut server = connect(port)?;
        self.send_bets(&mut server, side, 1)?;
        self.ask(&mut server, side)?;
        Ok(server)
    }

    fn send_bets(&self, server: &mut TcpStream, side: Side, repeat: u32) -> io::Result<Instant> {
        for _ in 0..repeat {
            for batch in &self.batches {
                send(server, side, batch)?;
            }
        }
        Ok(Instant::now())
    }

    /// Ends, and asks for the winners.
    fn ask(&self, server: &mut TcpStream, side: Side) -> io::Result<()> {
        send(server, side, &frame(&typed::encode_batch(self.id, &[])))?;
        server.write_all(&frame(&typed::encode_winners_query(self.id))[side.skipped()..])
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), message].concat()
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    server.set_nodelay(true)?;
    Ok(server)
}

fn send(server: &mut TcpStream, side: Side, frame: &[u8]) -> io::Result<()> {
    server.write_all(&frame[side.skipped()..])?;
    let mut answer = [0; 2];
    server.read_exact(&mut answer)?;
    if answer == [2, 0] { Ok(()) } else { Err(io::Error::other(format!("answered with {answer:?}"))) }
}

fn await_winners(server: &mut TcpStream) -> io::Result<()> {
    let mut header = [0; 5];
    server.read_exact(&mut header)?;
    let [kind, count @ ..] = header;
    if kind != 5 {
        return Err(io::Error::other(format!("the query was answered with {kind}")));
    }
    let documents = u64::from(u32::from_be_bytes(count)) * size_of::<u32>() as u64;
    let read = io::copy(&mut server.take(documents), &mut io::sink())?;
    if read == documents { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Connects, says a line, reads it and the end of the stream, and begins anew for `length`; how often.
///
/// That the server closes first spares this side a port that nobody can use for a minute, each time.
pub fn echo(port: u16, length: Duration) -> io::Result<u64> {
    let end = Instant::now() + length;
    let mut count = 0;
    let mut answer = Vec::new();
    while Instant::now() < end {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        server.write_all(floor::ECHO)?;
        answer.clear();
        server.read_to_end(&mut answer)?;
        if answer != floor::ECHO {
            return Err(io::Error::other(format!("the echo is {answer:?}")));
        }
        count += 1;
    }
    Ok(count)
}

/// Runs `client` once for each of `agents`, all at once, each in a thread, with the server's port. One that fails, a
/// signal, or `limit` kills the server, and so ends every client.
pub fn all_at_once<A: Sync, T: Send>(
    server: &mut Running,
    (stop, limit): (&StopSignal, Duration),
    agents: &[A],
    client: impl Fn(u16, &A) -> io::Result<T> + Sync,
) -> Result<Vec<T>> {
    let (ended, working) = io::pipe()?;
    let handles = agents.iter().map(|_| working.try_clone()).collect::<io::Result<Vec<_>>>()?;
    drop(working);
    let (port, gate) = (server.port, RwLock::new(()));
    let play = &|agent, mut working: PipeWriter| {
        drop(gate.read());
        client(port, agent).inspect_err(|e| drop(working.write_all(format!("{e}\n").as_bytes())))
    };
    thread::scope(|scope| {
        let closed = gate.write();
        let spawn = |(agent, working)| thread::Builder::new().spawn_scoped(scope, move || play(agent, working));
        let clients = agents.iter().zip(handles).map(spawn).collect::<io::Result<Vec<_>>>();
        drop(closed);
        let waited: Result<_> = clients.map_err(Into::into).and_then(|clients| {
            await_end(ended, stop, limit)?;
            Ok(clients)
        });
        let clients = waited.inspect_err(|_| drop(server.process.kill()))?;
        clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??)).collect()
    })
}

/// Waits until every client has let go of the other end of `ended`; what one writes there is why it has failed.
fn await_end(mut ended: PipeReader, stop: &StopSignal, limit: Duration) -> Result<()> {
    let events = stop.wait(ended.as_fd(), PollFlags::POLLIN, Some(Instant::now() + limit))?;
    if events.is_empty() {
        return Err(format!("not done within {limit:?}").into());
    }
    // A signal to the whole process group ends the server, too.
    stop.check()?;
    let mut why = [0; 200];
    let len = ended.read(&mut why)?;
    match String::from_utf8_lossy(&why[..len]).lines().next() {
        None => Ok(()),
        Some(why) => Err(format!("a client failed: {why}").into()),
    }
}

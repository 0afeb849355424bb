//! A server as a process: tied to this one, and stopped in order or killed by its pid.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loteria::agency::stop::StopSignal;
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{self, Signal};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::side::Side;
use crate::Result;
use crate::floor::{self, Work};

/// How long a server without bets may take to listen, and any server to end: much longer than it usually takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two checks of its state.
const INTERVAL: Duration = Duration::from_millis(2);
/// Start of the first argument of this program if it is executed again as one of the servers.
const TIED: &str = "--tied-to=";
const SERVER: &str = "server";
const ECHO: &str = "echo";

/// If the first argument asks for it, this process becomes a server, and the function returns its result.
///
/// This replaces [`CommandExt::pre_exec`], which is unsafe: the tie between a process and its parent survives exec(3).
pub fn run_as_server() -> Option<Result<()>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next()?.strip_prefix(TIED)?.parse().ok()?;
    Some(serve_tied_to(parent, &arguments.next()?))
}

fn serve_tied_to(parent: u32, server: &str) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if parent_id() != parent {
        return Err("the parent process has ended".into());
    }
    match server {
        SERVER => Err(Command::new(env!("CARGO_BIN_EXE_server")).exec().into()),
        ECHO => Ok(floor::run(Work::Echo)?),
        agencies => Ok(floor::run(Work::Bets(agencies.parse()?))?),
    }
}

/// A running server. When dropped, it is killed and reaped, and its directory is removed.
pub struct Running {
    process: Child,
    port: u16,
    dir: TempDir,
}

impl Running {
    /// Starts `side` in a fresh directory and waits until it listens.
    pub fn start(side: Side, work: Work, stop: &StopSignal) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, (side, work), (stop, PATIENCE))
    }

    /// Starts a server in `dir`, where files of it may be, and waits at most `patience` until it listens.
    pub fn start_in(
        dir: TempDir,
        (side, work): (Side, Work),
        (stop, patience): (&StopSignal, Duration),
    ) -> Result<Self> {
        let process = command(side, work, dir.path())?.spawn()?;
        let mut running = Self { process, port: 0, dir };
        running.port = running.await_port(stop, patience)?;
        Ok(running)
    }

    /// The pid of the server.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The file with its bets.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join(floor::FILE)
    }

    /// The port that clients connect to.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server. Its clients then lose their connections.
    pub(super) fn kill(&mut self) {
        // Fails only if the server has already ended.
        let _ = self.process.kill();
    }

    fn await_port(&mut self, stop: &StopSignal, patience: Duration) -> Result<u16> {
        let deadline = Instant::now() + patience;
        while self.process.try_wait()?.is_none() && Instant::now() < deadline {
            let log = fs::read_to_string(log_file(self.dir.path()))?;
            let line =
                log.split_once("action: listen | result: success | port: ").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((port, _)) = line {
                return Ok(port.parse()?);
            }
            stop.pause(INTERVAL)?;
        }
        Err(format!("the server does not listen:\n{}", fs::read_to_string(log_file(self.dir.path()))?).into())
    }

    /// Stops the server in order. Returns the processor time of the server and its children, in milliseconds.
    pub fn stop(mut self) -> Result<f64> {
        let before = reaped_ms()?;
        signal::kill(Pid::from_raw(self.pid().try_into()?), Signal::SIGTERM)?;
        let status = self.await_end()?;
        if !status.success() {
            return Err(format!("the server ended with {status}").into());
        }
        Ok(reaped_ms()? - before)
    }

    fn await_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(INTERVAL);
        }
        Err("the server does not end".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a stop it is already reaped; then both calls do nothing.
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

/// Processor time of all children that were reaped so far, and of their children, in milliseconds.
fn reaped_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e3)
}

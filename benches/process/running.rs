//! A server as a process: in a directory of its own, and stopped in order or killed by its pid.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::processor::reaped_time;
use crate::Result;
use crate::stop::Stop;

/// How long a server may take to end: much longer than it usually takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two checks of its state.
const INTERVAL: Duration = Duration::from_millis(2);

/// How a server shows that it listens.
pub enum Ready {
    /// It logs its port, as the project's server does.
    Logged,
    /// It was told this port, and accepts a connection.
    Port(u16),
}

/// A running server. When dropped, it is killed and reaped, and its directory is removed.
pub struct Running {
    process: Child,
    port: u16,
    dir: TempDir,
}

impl Running {
    /// Starts `command` in `dir`, with an empty environment besides its own, and waits at most `patience` until it
    /// listens.
    pub fn start(
        mut command: Command,
        dir: TempDir,
        ready: &Ready,
        (stop, patience): (&Stop, Duration),
    ) -> Result<Self> {
        let log = File::create(dir.path().join(LOG))?;
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = Self { process: command.spawn()?, port: 0, dir };
        running.port = running.await_port(ready, (stop, patience))?;
        Ok(running)
    }

    /// The pid of the server.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The working directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills the server. Its clients then lose their connections.
    pub fn kill(&mut self) {
        // Fails only if the server has already ended.
        let _ = self.process.kill();
    }

    fn await_port(&mut self, ready: &Ready, (stop, patience): (&Stop, Duration)) -> Result<u16> {
        let found = stop.until_every(INTERVAL, patience, || {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the server ended with {status}:\n{}", self.log()).into());
            }
            Ok(match ready {
                Ready::Logged => logged_port(&self.log()),
                Ready::Port(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).ok().map(|_| *port),
            })
        })?;
        found.ok_or_else(|| format!("the server does not listen:\n{}", self.log()).into())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default()
    }

    /// Stops the server in order. Returns the processor time of the server and its children.
    ///
    /// # Errors
    /// The server does not end with code 0.
    pub fn stop(self) -> Result<Duration> {
        self.stop_and_keep().map(|(time, _)| time)
    }

    /// As [`Running::stop`]; also returns the directory.
    pub fn stop_and_keep(mut self) -> Result<(Duration, TempDir)> {
        let before = reaped_time()?;
        signal::kill(Pid::from_raw(self.pid().try_into()?), Signal::SIGTERM)?;
        let status = self.await_end()?;
        if !status.success() {
            return Err(format!("the server ended with {status}:\n{}", self.log()).into());
        }
        let time = reaped_time()? - before;
        // The destructor finds an empty directory.
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir()?);
        Ok((time, dir))
    }

    fn await_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(INTERVAL);
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

const LOG: &str = "server.log";

fn logged_port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("action: listen | result: success | port: ")?;
    rest.split_once('\n')?.0.trim().parse().ok()
}

/// A port that is free now, for a program that cannot choose one itself.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

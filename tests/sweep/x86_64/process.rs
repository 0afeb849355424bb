//! A program of the sweep, started normally or under the tracer, and its end.
//!
//! Owns the command line, the environment and the target of the output. Used by the play; does not know which program
//! it is.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use ipc::process::Exit;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tracer::{Aim, Role, Trace, Traced};
use crate::support;

/// A program to be started.
#[derive(Debug, Clone)]
pub struct Program {
    pub binary: PathBuf,
    pub arguments: Vec<&'static str>,
    pub variables: Vec<(&'static str, OsString)>,
    pub directory: PathBuf,
    /// Standard output and error, appended.
    pub log: PathBuf,
}

impl Program {
    fn command(&self, under: &[&str]) -> Result<Command, String> {
        let log = File::options().create(true).append(true).open(&self.log).map_err(|e| e.to_string())?;
        let mut command = support::clean_command(under, self.binary.clone(), &self.directory);
        command.args(&self.arguments).envs(self.variables.iter().cloned());
        command.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        Ok(command)
    }

    pub fn start(&self) -> Result<Process, String> {
        Ok(Process::Plain(self.command(&[])?.spawn().map_err(|e| e.to_string())?))
    }

    pub fn start_traced(&self, role: Role, aim: Option<Aim>) -> Result<Process, String> {
        let stopped = self.command(&["sh", "-c", "kill -STOP $$; exec \"$@\"", "sh"])?;
        Ok(Process::Traced(Traced::start(stopped, role, aim)?))
    }
}

/// A process that runs or has ended. Dropping it kills it.
pub enum Process {
    Plain(Child),
    Traced(Traced),
}

impl Process {
    pub fn pid(&self) -> i32 {
        match self {
            Self::Plain(child) => child.id().cast_signed(),
            Self::Traced(traced) => traced.pid(),
        }
    }

    /// How it ended; `None` while it runs.
    pub fn exit(&mut self) -> Option<Exit> {
        match self {
            Self::Plain(child) => {
                let status = child.try_wait().ok()??;
                let signal = status.signal().and_then(|signal| Signal::try_from(signal).ok());
                Some(signal.map_or_else(|| Exit::Code(status.code().unwrap_or(-1)), Exit::Killed))
            }
            Self::Traced(traced) => traced.exit(),
        }
    }

    pub fn is_traced(&self) -> bool {
        matches!(self, Self::Traced(_))
    }

    /// Whether all of its processes have ended, as far as is known.
    pub fn is_over(&mut self) -> bool {
        match self {
            Self::Plain(_) => self.exit().is_some(),
            Self::Traced(traced) => traced.is_over(),
        }
    }

    /// The tracer's results; waits for the last of its processes.
    pub fn into_trace(self) -> Trace {
        match self {
            Self::Plain(_) => Trace::default(),
            Self::Traced(traced) => traced.trace(),
        }
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Kills it, after a run that has failed.
    pub fn kill(&mut self) {
        if self.is_over() {
            return;
        }
        let pid = self.pid();
        for pid in support::children_of(pid).into_iter().chain([pid]) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if let Self::Plain(child) = self {
            let _ = child.wait();
        }
    }
}

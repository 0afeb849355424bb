//! Processes by their pid: signals, ends and children. A run reaps all processes that it starts, children and orphans,
//! so that it sees every end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support;

/// How long anything that must happen may take: far longer than it does, so that a slow machine fails no run.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Why a run has failed.
pub type Failure = String;
pub type Outcome<T> = Result<T, Failure>;

/// Waits until `look` returns a value.
pub fn await_some<T>(what: &str, look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    await_within(PATIENCE, what, look)
}

fn await_within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let found = support::poll_until(time, || look().transpose());
    found.unwrap_or_else(|| Err(format!("not within {time:?}: {what}")))
}

/// The ends of processes.
#[derive(Default)]
pub struct Reaper(BTreeMap<i32, WaitStatus>);

impl Reaper {
    /// From now on, this process adopts and reaps orphans of its children.
    pub fn new() -> Outcome<Self> {
        nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("prctl: {e}"))?;
        Ok(Self::default())
    }

    /// Notes that `pid` has just been started.
    pub fn started(&mut self, pid: i32) {
        self.0.remove(&pid);
    }

    /// Reaps every process that has ended; false once no child is left.
    pub fn reap(&mut self) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return true,
                Ok(status) => {
                    status.pid().and_then(|pid| self.0.insert(pid.as_raw(), status));
                }
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// How `pid` ended; `None` while it runs.
    pub fn end_of(&mut self, pid: i32) -> Option<WaitStatus> {
        self.reap();
        self.0.get(&pid).copied()
    }

    pub fn await_end(&mut self, pid: i32, what: &str, time: Duration) -> Outcome<WaitStatus> {
        await_within(time, &format!("{what} (process {pid}) ends"), || Ok(self.end_of(pid)))
    }

    /// All ends so far.
    pub fn ends(&self) -> impl Iterator<Item = (i32, WaitStatus)> {
        self.0.iter().map(|(&pid, &status)| (pid, status))
    }
}

/// Whether it ended in order.
pub fn is_success(end: WaitStatus) -> bool {
    matches!(end, WaitStatus::Exited(_, 0))
}

pub fn is_killed(end: WaitStatus) -> bool {
    matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _))
}

/// Sends a signal; a process that has already ended needs none.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether the process has `file` open, and no socket.
pub fn works_without_connection(pid: i32, file: &Path) -> bool {
    let open = support::descriptors(pid);
    let has_file = open.values().any(|target| Path::new(target) == file);
    has_file && !open.values().any(|target| target.starts_with("socket:"))
}

//! Faults that strace injects into a process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::NamedTempFile;

use super::{eventually, skipped, state, this_test};

/// strace, which injects faults into a process until this is dropped or the process ends.
pub struct Strace {
    process: Child,
    // Never read again, but kept open: otherwise strace would be killed when it writes to it.
    _stderr: BufReader<ChildStderr>,
    trace: NamedTempFile,
}

impl Strace {
    /// `None` if strace cannot be used here, which has been reported.
    pub fn attach(pid: i32, options: &[&str]) -> Option<Self> {
        let mut command = Command::new("strace");
        let trace = NamedTempFile::new().unwrap();
        command.arg("-o").arg(trace.path()).args(["-p", &pid.to_string()]).args(options);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut process = match spawned {
            Ok(process) => process,
            Err(e) => {
                skipped(&this_test(), &format!("strace: {e}"));
                return None;
            }
        };
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut all = String::new();
        while stderr.read_line(&mut all).unwrap() > 0 {
            if all.ends_with(" attached\n") {
                return Some(Self { process, _stderr: stderr, trace });
            }
        }
        let _ = process.wait();
        assert!(all.contains("Operation not permitted"), "strace does not know {options:?}: {all}");
        skipped(&this_test(), &format!("strace may not be used: {all}"));
        None
    }

    /// Waits until a process has stopped because of an injected SIGSTOP.
    ///
    /// Trap: the state of a traced process does not show this. It is the same at each system call that strace looks at.
    #[track_caller]
    pub fn await_stop(&self) {
        let is_stopped = || fs::read_to_string(self.trace()).unwrap().contains("--- stopped by SIGSTOP ---");
        eventually("a process is stopped", is_stopped);
    }

    /// Waits until an injected SIGSTOP has stopped the process, then ends strace. The process stays stopped.
    #[track_caller]
    pub fn leave_stopped(self, pid: i32) {
        self.await_stop();
        drop(self);
        eventually("the process stays stopped", || state(pid) == Some('T'));
    }

    /// The file to which it writes every call that it has injected a fault into.
    pub fn trace(&self) -> &Path {
        self.trace.path()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until strace has made this system call fail at least once, in any of its forms.
#[track_caller]
pub fn assert_injected(trace: &Path, call: &str) {
    let hits =
        || fs::read_to_string(trace).unwrap().lines().filter_map(injected).map(str::to_owned).collect::<Vec<_>>();
    let is_hit = || hits().iter().any(|hit| call.split('|').any(|form| form.trim_start_matches('?') == hit));
    eventually(&format!("a fault is injected into {call}"), is_hit);
}

/// The system call that was replaced by a fault, if the line of a trace reports one.
fn injected(line: &str) -> Option<&str> {
    // With -f, the line begins with the process. A call during which another process was logged has two lines.
    let call = line.strip_suffix(" (INJECTED)")?.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    call.trim_start_matches("<... ").split(['(', ' ']).next()
}

/// Whether programs can be started under strace; if not, that has been reported.
pub fn strace_starts() -> bool {
    let works = Command::new("strace").args(["-D", "-o", "/dev/null", "true"]).output();
    let starts = works.as_ref().is_ok_and(|output| output.status.success());
    if !starts {
        skipped(&this_test(), &format!("strace starts nothing here: {works:?}"));
    }
    starts
}

//! `docker compose logs -f`, read the way the course reads it: attached late, all containers merged, line by line.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::engine;
use crate::grammar::{self, Event};
use crate::support::offence;

/// The course's time limit for a case.
const COURSE_LIMIT: Duration = Duration::from_secs(300);

/// A command that follows the logs. Dropping it ends the command.
pub struct Follower {
    process: Child,
    lines: Receiver<String>,
    deadline: Instant,
    seen: Vec<String>,
    failures: Failures,
}

/// How a line with `result: fail` is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failures {
    Refused,
    Expected,
}

impl Follower {
    /// Starts the command `words` in `dir`.
    pub fn start(dir: &Path, words: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = engine::command(dir, 2 * COURSE_LIMIT, words);
        command.stdout(writer.try_clone().unwrap()).stderr(writer).process_group(0);
        let process = command.spawn().unwrap();
        drop(command); // and with it this process's ends for writing
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(reader).split(b'\n').map_while(Result::ok);
            lines.try_for_each(|line| sender.send(String::from_utf8_lossy(&line).into_owned()))
        });
        let deadline = Instant::now() + COURSE_LIMIT;
        Self { process, lines, deadline, seen: Vec::new(), failures: Failures::Refused }
    }

    /// From now on, programs may log failures: a peer was stopped.
    pub fn expect_failures(&mut self) {
        self.failures = Failures::Expected;
    }

    /// The next `count` lines.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).filter_map(|_| self.next("the next line")).collect()
    }

    /// The events up to and including the first for which `holds`.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let Some(event) = self.next(what) else { continue };
            events.push(event.clone());
            if holds(&event) {
                return events;
            }
        }
    }

    /// The event in the next line, if it has one; `what` describes what the caller waits for.
    #[track_caller]
    fn next(&mut self, what: &str) -> Option<Event> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let Ok(line) = self.lines.recv_timeout(left) else {
            panic!("not within {COURSE_LIMIT:?}, or not before the logs ended: {what}\n{}", self.transcript());
        };
        self.seen.push(grammar::clean(&line).to_owned());
        let event = grammar::read(&line).unwrap_or_else(|offence| panic!("{offence}\n{}", self.transcript()));
        // The output of a container comes after the first bar, and every line of it is a log line.
        if let Some((_, text)) = grammar::clean(&line).split_once("| ")
            && let Some(offence) = offence(&format!("{text}\n"))
        {
            panic!("{offence}\n{}", self.transcript());
        }
        let failed = event.as_ref().is_some_and(|event| event.result == "fail");
        assert!(!failed || self.failures == Failures::Expected, "a failure\n{}", self.transcript());
        event
    }

    /// All lines so far.
    pub fn transcript(&self) -> String {
        self.seen.join("\n")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Kill the whole group: the docker command has compose as a child.
        if let Ok(group) = self.process.id().try_into() {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.process.wait();
    }
}

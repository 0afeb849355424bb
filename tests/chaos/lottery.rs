//! The server of a run, started again and again on the same port and the same files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::plan::Plan;
use crate::processes::{Outcome, PATIENCE, Reaper, await_some, signal, works_without_connection};
use crate::support::books::{Books, DRAW_HEADER, Draw, HEADS, HELD};
use crate::support::{self, WINNING};

/// The line of a server that accepts connections.
const ACCEPTS: &str = "action: accept_connections | result: in_progress";

/// How long children may finish their message after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(5);

pub struct Lottery {
    dir: PathBuf,
    pub port: u16,
    agencies: usize,
    durability: &'static str,
    log_level: &'static str,
    pid: i32,
    /// Where the log of the running server begins.
    log_start: usize,
    /// Children that this run has killed.
    pub killed: BTreeSet<i32>,
}

impl Lottery {
    /// Creates the server of a run in `dir`; it is not started yet.
    pub fn new(plan: &Plan, dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            port: support::free_port(),
            agencies: plan.agencies.len(),
            durability: plan.durability.name(),
            log_level: plan.log_level,
            pid: 0,
            log_start: 0,
            killed: BTreeSet::new(),
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A file of the lottery.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join("store").join(name)
    }

    /// Starts the server.
    pub fn start(&mut self, reaper: &mut Reaper) {
        self.start_with(None, reaper);
    }

    /// Starts the server to repair its files, and waits for its end.
    pub fn repair(&mut self, reaper: &mut Reaper) -> Outcome<WaitStatus> {
        self.start_with(Some("--repair"), reaper);
        reaper.await_end(self.pid, "the repair", PATIENCE)
    }

    #[expect(clippy::zombie_processes, reason = "the reaper waits for it")]
    fn start_with(&mut self, argument: Option<&str>, reaper: &mut Reaper) {
        self.log_start = self.log().len();
        let append = |name| File::options().create(true).append(true).open(self.dir.join(name)).unwrap();
        let child = support::clean_command::<&str>(&[], support::server_binary(), &self.dir)
            .args(argument)
            .env("STORAGE_FILEPATH", self.file("bets.csv"))
            .env("SERVER_PORT", self.port.to_string())
            .env("SERVER_LISTEN_BACKLOG", "64")
            .env("CLIENT_AMOUNT", self.agencies.to_string())
            .env("LOTTERY_WINNER_NUMBER", WINNING.to_string())
            .env("LOGGING_LEVEL", self.log_level)
            .env("DURABILITY", self.durability)
            .env("SHUTDOWN_GRACE", format!("{GRACE:?}"))
            .stdout(append("server.log"))
            .stderr(append("server.err"))
            .spawn()
            .unwrap();
        self.pid = child.id().try_into().unwrap();
        reaper.started(self.pid);
    }

    /// Waits until its start is complete: from now on SIGTERM works, and the children of its predecessor are gone.
    pub fn await_listening(&self, reaper: &mut Reaper) -> Outcome<()> {
        await_some("the server listens", || {
            if let Some(end) = reaper.end_of(self.pid) {
                return Err(format!("the server ended at its start: {end:?}\n{}", self.own_log()));
            }
            Ok(self.own_log().contains(ACCEPTS).then_some(()))
        })
    }

    /// Waits until it listens, or has ended: then, how.
    pub fn await_listening_or_end(&self, reaper: &mut Reaper) -> Outcome<Option<WaitStatus>> {
        await_some("the server listens or ends", || {
            let end = reaper.end_of(self.pid);
            Ok((end.is_some() || self.own_log().contains(ACCEPTS)).then_some(end))
        })
    }

    /// Its children, oldest first.
    pub fn children(&self) -> Vec<i32> {
        support::children_of(self.pid)
    }

    /// The children that this run has not killed.
    pub fn living_children(&self) -> impl Iterator<Item = i32> {
        self.children().into_iter().filter(|pid| !self.killed.contains(pid))
    }

    /// The children that die with their parent even while stopped. A child arranges that in its first step, before it
    /// closes the parent's descriptors; a child that is stopped before that step does not die.
    pub fn settled_children(&self) -> Vec<i32> {
        let settled = |pid: &i32| !support::descriptors(*pid).values().any(|target| target.ends_with("[eventpoll]"));
        self.children().into_iter().filter(settled).collect()
    }

    /// The child that holds the draw: the only one without a connection.
    pub fn drawing_child(&self) -> Option<i32> {
        self.children().into_iter().rev().find(|&pid| works_without_connection(pid, &self.file("draw")))
    }

    pub fn kill_children(&mut self, pids: &[i32]) {
        pids.iter().for_each(|&pid| signal(pid, Signal::SIGKILL));
        self.killed.extend(pids);
    }

    /// Kills the parent with SIGKILL; its children die with it.
    pub fn kill(&mut self, reaper: &mut Reaper) -> Outcome<()> {
        signal(self.pid, Signal::SIGKILL);
        reaper.await_end(self.pid, "the killed server", PATIENCE).map(drop)
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("server.log")).unwrap_or_default()).into_owned()
    }

    /// What the last server has logged.
    pub fn own_log(&self) -> String {
        self.log().split_off(self.log_start)
    }

    /// Whether there is a result that the server has neither announced nor reported as found at its start. If the process
    /// that holds the draw is killed, the server may stop before the next attempt.
    pub fn held_in_silence(&self) -> bool {
        let log = self.own_log();
        let reasons = [support::SORTEO, "sorteo: held", "the process that held it ended: Killed(SIGKILL)"];
        self.is_held() && !reasons.iter().any(|reason| log.contains(reason))
    }

    // ---- its files ----

    /// The present `books`, unless it is missing or its header is damaged.
    pub fn books(&self) -> Option<Books> {
        let books = Books(fs::read(self.file("books")).ok()?);
        (books.0.len() >= HEADS[1].end && books.is_valid()).then_some(books)
    }

    /// The present `draw`, unless it is missing or its header is damaged.
    pub fn draw(&self) -> Option<Draw> {
        let draw = Draw(fs::read(self.file("draw")).ok()?);
        (draw.0.len() >= DRAW_HEADER.end && draw.is_valid()).then_some(draw)
    }

    /// The number of agencies that have ended.
    pub fn ends(&self) -> u64 {
        let Some(books) = self.books() else { return 0 };
        (0..books.slots()).filter(|&n| books.slot_at(n).is_some_and(|(slot, _)| slot.is_closed())).count() as u64
    }

    pub fn all_ended(&self) -> bool {
        self.ends() >= self.agencies as u64
    }

    /// Whether a result is being written, or has been.
    pub fn has_result(&self) -> bool {
        self.draw().is_some_and(|draw| draw.0.get(HELD).is_some_and(|place| place.iter().any(|&byte| byte != 0)))
    }

    /// Whether the draw is held.
    pub fn is_held(&self) -> bool {
        self.draw().is_some_and(|draw| draw.held().is_some())
    }
}

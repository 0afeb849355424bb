//! One run from start to end: the agencies and their server, the faults of the plan, and then no more faults, so that
//! the lottery ends by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::agency::Agency;
use crate::lottery::{GRACE, Lottery};
use crate::plan::Plan;
use crate::processes::{Failure, Outcome, PATIENCE, Reaper, await_some, is_success, signal};
use crate::rows;
use crate::support::disk::Disk;
use crate::support::{self, Conn};
use crate::tally::Tally;

/// Time that a server may need beyond its grace period on a busy machine.
const BEYOND_GRACE: Duration = Duration::from_secs(3);

pub struct Run {
    pub plan: Plan,
    pub dir: PathBuf,
    pub reaper: Reaper,
    pub lottery: Lottery,
    pub agencies: Vec<Agency>,
    pub disk: Option<Disk>,
    pub cuts: u32,
    /// How often a file was moved under a running server.
    pub replacements: u32,
    /// The servers that ended with exit code 4, as they should.
    pub refusals: Vec<i32>,
    /// An earlier content of `draw`.
    pub older_draw: Option<Vec<u8>>,
    pub tally: Tally,
    /// Failures that did not end the run.
    pub failures: Vec<Failure>,
}

impl Run {
    /// Prepares the run in `dir`; starts nothing.
    pub fn new(plan: Plan, dir: &Path, disk: Option<Disk>) -> Outcome<Self> {
        fs::create_dir_all(dir.join("store")).unwrap();
        let lottery = Lottery::new(&plan, dir);
        let agencies = (1..=plan.agencies.len()).map(|id| Agency::new(id, &plan, dir, lottery.port)).collect();
        let (reaper, dir, tally) = (Reaper::new()?, dir.to_owned(), Tally::default());
        let (refusals, failures) = (Vec::new(), Vec::new());
        let (cuts, replacements, older_draw) = (0, 0, None);
        Ok(Self {
            plan,
            dir,
            reaper,
            lottery,
            agencies,
            disk,
            cuts,
            replacements,
            refusals,
            older_draw,
            tally,
            failures,
        })
    }

    /// Runs until the last server has ended in order, or a client has failed, which the judge reports.
    pub fn execute(&mut self) -> Outcome<()> {
        self.lottery.start(&mut self.reaper);
        self.lottery.await_listening(&mut self.reaper)?;
        for step in 0..self.plan.steps.len() {
            self.start_clients(step);
            self.inflict(step)?;
        }
        self.await_clients()?;
        if self.agencies.iter().any(|agency| agency.is_running(&mut self.reaper)) {
            return Ok(());
        }
        if let Some(fault) = self.plan.last {
            self.perform(fault, 0, &[])?;
        }
        self.ask_winners()?;
        self.stop()
    }

    fn start_clients(&mut self, step: usize) {
        let begins = self.plan.begins.iter();
        for (agency, _) in self.agencies.iter_mut().zip(begins).filter(|(_, begins)| **begins == step) {
            agency.start(&mut self.reaper);
        }
    }

    fn await_clients(&mut self) -> Outcome<()> {
        let Self { reaper, agencies, lottery, .. } = self;
        await_some("all clients end", || {
            if let Some(end) = reaper.end_of(lottery.pid()) {
                return Err(format!("the server ended by itself: {end:?}"));
            }
            let has_failed = |agency: &Agency| agency.end(reaper).is_some_and(|end| !is_success(end));
            // A failed client never succeeds, and the others may wait for it.
            let no_use = agencies.iter().any(has_failed);
            Ok((no_use || !agencies.iter().any(|agency| agency.is_running(reaper))).then_some(()))
        })
        .map_err(|late| {
            let logs = agencies.iter().filter(|agency| agency.is_running(reaper)).map(last_lines);
            format!("{late}\n{}", logs.collect::<String>())
        })
    }

    /// Sends message 3 and checks each agency's documents, in order.
    fn ask_winners(&mut self) -> Outcome<()> {
        self.lottery.await_listening(&mut self.reaper)?;
        for (id, rows) in (1..).zip(&self.plan.agencies) {
            let mut conn = Conn::to(self.lottery.port);
            conn.send(&support::ask(id));
            let (answer, right) = (conn.winners(), Some(rows::winners(rows)));
            if answer != right {
                self.failures.push(format!("agency {id} got the winners {answer:?} instead of {right:?}"));
            }
        }
        Ok(())
    }

    /// Sends SIGTERM; the server and its children must end in order.
    pub fn stop(&mut self) -> Outcome<()> {
        let children = self.lottery.children();
        signal(self.lottery.pid(), Signal::SIGTERM);
        self.await_stop(&children)
    }

    pub fn await_stop(&mut self, children: &[i32]) -> Outcome<()> {
        let end = self.reaper.await_end(self.lottery.pid(), "the server, after SIGTERM", GRACE + BEYOND_GRACE)?;
        if !is_success(end) {
            self.failures.push(format!("the server ended after SIGTERM with {end:?} instead of exit code 0"));
        }
        // This process has adopted every child that the server has not reaped.
        let mut left = |&&pid: &&i32| support::is_alive(pid) || self.reaper.end_of(pid).is_some();
        if let Some(pid) = children.iter().find(&mut left) {
            self.failures.push(format!("the server ended after SIGTERM and left its child {pid} running"));
        }
        if self.lottery.held_in_silence() {
            self.failures.push("the server held a draw, did not log it, and ended after SIGTERM".to_owned());
        }
        Ok(())
    }

    /// Reports every process that still lives as a failure, and ends it.
    pub fn clean_up(&mut self) {
        self.disk.take();
        let left = processes_in(&self.dir);
        if !left.is_empty() {
            self.failures.push(format!("{} processes still lived at the end", left.len()));
        }
        end_all_in(&self.dir);
        let none = await_some("everything is reaped", || Ok((!self.reaper.reap()).then_some(())));
        self.failures.extend(none.err());
    }
}

fn last_lines(agency: &Agency) -> String {
    let log = agency.last_log();
    let lines: Vec<_> = log.lines().rev().take(5).collect();
    lines.into_iter().rev().map(|line| format!("  client {}: {line}\n", agency.id)).collect()
}

/// Living processes that were started in `dir`: only these have it as their working directory.
pub fn processes_in(dir: &Path) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == dir)).collect()
}

/// Kills each of them by its pid.
pub fn end_all_in(dir: &Path) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let left = processes_in(dir);
        if left.is_empty() || std::time::Instant::now() > deadline {
            return;
        }
        left.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
    }
}

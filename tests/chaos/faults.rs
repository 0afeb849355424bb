//! How each fault of a plan is inflicted on the processes that exist at that moment.

use std::fs::{self, File};
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::agency::Setback;
use crate::plan::{Durability, Fault, Moment};
use crate::processes::{Outcome, is_killed, signal};
use crate::run::Run;
use crate::support;

/// How long a moment is awaited: clients that have lost their server return after 50 to 100 ms.
const SOON: Duration = Duration::from_millis(400);
/// The same, for moments after all bets have been sent.
const LATER: Duration = Duration::from_secs(3);
/// How long the next batch is awaited without pauses.
const TIGHT: Duration = Duration::from_millis(50);
/// The pause between two looks for other moments.
const LOOSE: Duration = Duration::from_micros(100);
/// Time for clients to fill their windows while no process reads.
const TO_FILL: Duration = Duration::from_millis(2);
/// Exit code of a server whose disk has failed.
pub const STORAGE_BROKEN: i32 = 4;

impl Run {
    /// Step `number` of the plan.
    pub fn inflict(&mut self, number: usize) -> Outcome<()> {
        let step = &self.plan.steps[number];
        let (moment, after, fault, pick) = (step.moment, step.after, step.fault, step.pick);
        if let Some(end) = self.reaper.end_of(self.lottery.pid()) {
            return Err(format!("the server ended by itself before fault {}: {end:?}", number + 1));
        }
        if pick.is_multiple_of(3) {
            self.older_draw = fs::read(self.lottery.file("draw")).ok();
        }
        let (came, there) = self.await_moment(moment);
        sleep(after);
        self.perform(fault, pick, &there)?;
        self.tally.add("moments", moment.name(), usize::from(came));
        Ok(())
    }

    /// Inflicts a fault; `there` are children that are known already, so that no time is lost by looking.
    pub fn perform(&mut self, fault: Fault, pick: usize, there: &[i32]) -> Outcome<()> {
        if matches!(fault, Fault::PowerCut { .. }) && self.disk.is_none() {
            return Ok(());
        }
        let victims = match fault {
            Fault::Parent { frozen, again } => self.kill_parent(frozen, again)?,
            Fault::Children { all } => self.kill_children(all, pick, there),
            Fault::Stall { time, kill } => self.stall(pick, time, kill),
            Fault::Swap { time, kill } => self.swap_client(pick, time, kill),
            Fault::Client => self.kill_client(pick),
            Fault::Term { frozen } => self.restart_in_order(frozen)?,
            Fault::PowerCut { written } => self.cut_power(written)?,
            Fault::Damage(incident) => self.damage(incident, pick)?,
            Fault::Replacement { of, time } => self.replace(of, time)?,
        };
        let group = if victims > 0 { "faults" } else { "missed" };
        self.tally.add(group, fault.name(), victims.max(1));
        self.tally.add("faults by level", self.plan.durability.name(), victims);
        Ok(())
    }

    // ---- moments ----

    /// Waits for a moment: whether it came, and the children that it concerns.
    fn await_moment(&self, moment: Moment) -> (bool, Vec<i32>) {
        let lottery = &self.lottery;
        let ends = lottery.ends();
        let came = match moment {
            Moment::Now => true,
            Moment::Growth => return self.await_growth(),
            Moment::Drawing => return self.await_drawing(),
            Moment::End => !self.is_delivered() && within(SOON, LOOSE, || lottery.ends() > ends),
            Moment::AllEnded => !lottery.all_ended() && within(LATER, LOOSE, || lottery.all_ended()),
            Moment::Drawn => !lottery.has_result() && within(LATER, LOOSE, || lottery.has_result()),
        };
        (came, Vec::new())
    }

    /// Waits, with pauses, until some agency sends, then without pauses for the next batch.
    fn await_growth(&self) -> (bool, Vec<i32>) {
        let lottery = &self.lottery;
        // Each agency that has ended waits with one child.
        let delivers = || lottery.living_children().count() as u64 > lottery.ends();
        within(SOON, LOOSE, || delivers() || self.is_delivered());
        let (children, Ok(bets)) = (lottery.living_children().collect(), File::open(lottery.file("bets.csv"))) else {
            return (false, Vec::new());
        };
        let len = || bets.metadata().map_or(0, |found| found.len());
        let before = len();
        let came = !self.is_delivered() && within(TIGHT, Duration::ZERO, || len() > before);
        (came, children)
    }

    fn await_drawing(&self) -> (bool, Vec<i32>) {
        let lottery = &self.lottery;
        let mut child = None;
        let mut there = || {
            child = lottery.drawing_child();
            child.is_some() || lottery.has_result()
        };
        let due = !lottery.has_result() && within(LATER, LOOSE, || lottery.all_ended());
        let came = due && within(SOON, Duration::ZERO, &mut there) && child.is_some();
        (came, child.into_iter().collect())
    }

    /// Whether all started agencies have ended.
    fn is_delivered(&self) -> bool {
        let begun = self.agencies.iter().filter(|agency| agency.pid().is_some()).count();
        self.lottery.ends() >= begun as u64
    }

    // ---- faults: each returns how many victims it had ----

    fn kill_parent(&mut self, frozen: bool, again: Option<Duration>) -> Outcome<usize> {
        if frozen {
            self.signal_all(&self.lottery.settled_children(), Signal::SIGSTOP);
        }
        self.lottery.kill(&mut self.reaper)?;
        self.lottery.start(&mut self.reaper);
        let Some(pause) = again else { return Ok(1) };
        sleep(pause);
        self.lottery.kill(&mut self.reaper)?;
        self.lottery.start(&mut self.reaper);
        Ok(2)
    }

    fn kill_children(&mut self, all: bool, pick: usize, there: &[i32]) -> usize {
        let there = if there.is_empty() { self.lottery.children() } else { there.to_vec() };
        let one = pick % there.len().max(1);
        let victims = if all { &there[..] } else { there.get(one..=one).unwrap_or_default() };
        self.lottery.kill_children(victims);
        victims.len()
    }

    fn stall(&mut self, pick: usize, time: Duration, kill: bool) -> usize {
        let children = self.lottery.children();
        let Some(&child) = children.get(pick % children.len().max(1)) else { return 0 };
        signal(child, Signal::SIGSTOP);
        sleep(time);
        self.let_go(&[child], kill);
        1
    }

    fn swap_client(&mut self, pick: usize, time: Duration, kill: bool) -> usize {
        let Some(index) = self.sending_client(pick) else { return 0 };
        let children = self.lottery.children();
        self.signal_all(&children, Signal::SIGSTOP);
        sleep(TO_FILL);
        let agency = &mut self.agencies[index];
        agency.kill(&mut self.reaper);
        agency.start(&mut self.reaper);
        let connected =
            within(SOON, support::GLANCE, || agency.last_log().contains("action: connect | result: success"));
        // Until it is answered or the time is over: after an answer, the old batches would come too late.
        let is_answered = |log: String| ["consulta_recibidas", "batch_enviado"].iter().any(|line| log.contains(line));
        within(time, support::GLANCE, || is_answered(agency.last_log()));
        self.let_go(&children, kill);
        usize::from(connected)
    }

    /// A running one; otherwise one that has its winners already and asks again.
    fn kill_client(&mut self, pick: usize) -> usize {
        let started = |&index: &usize| self.agencies[index].pid().is_some();
        let started: Vec<_> = (0..self.agencies.len()).filter(started).collect();
        let one = self.running_client(pick).or_else(|| started.get(pick % started.len().max(1)).copied());
        let Some(one) = one else { return 0 };
        let agency = &mut self.agencies[one];
        let killed = agency.kill(&mut self.reaper);
        agency.start(&mut self.reaper);
        usize::from(killed)
    }

    fn restart_in_order(&mut self, frozen: bool) -> Outcome<usize> {
        self.lottery.await_listening(&mut self.reaper)?;
        let children = self.lottery.children();
        if frozen {
            self.signal_all(&children, Signal::SIGSTOP);
        }
        signal(self.lottery.pid(), Signal::SIGTERM);
        if frozen {
            sleep(TO_FILL);
            self.signal_all(&children, Signal::SIGCONT);
        }
        self.await_stop(&children)?;
        self.lottery.start(&mut self.reaper);
        Ok(1)
    }

    fn cut_power(&mut self, written: Option<&str>) -> Outcome<usize> {
        let Some(disk) = &self.disk else { return Ok(0) };
        if let Some(file) = written {
            disk.write_back(file);
        }
        // Stop all processes first, as without power: a sync during the cut may still return success.
        let children = support::freeze(self.lottery.pid());
        for agency in &mut self.agencies {
            let mark = agency.mark();
            agency.note(mark, Setback::PowerCut);
        }
        disk.cut_power()?;
        self.lottery.kill_children(&children);
        self.lottery.kill(&mut self.reaper)?;
        let end = self.reaper.end_of(self.lottery.pid());
        if !end.is_some_and(|end| is_killed(end) || matches!(end, WaitStatus::Exited(_, STORAGE_BROKEN))) {
            self.failures.push(format!("the server ended after a power cut with {end:?}"));
        }
        disk.mount_again()?;
        disk.another_boot()?;
        self.cuts += 1;
        self.lottery.start(&mut self.reaper);
        if self.plan.durability == Durability::Process {
            // An end may have outlived its rows.
            if self.is_refused()? {
                self.tally.one("hits", "start refused after a power cut");
                self.repair_after_cut()?;
            }
            self.restart_clients();
        }
        Ok(1)
    }

    /// Restarts all clients, as an operator would where an acknowledged end may be lost: such a client waits for ever.
    pub fn restart_clients(&mut self) {
        for agency in self.agencies.iter_mut().filter(|agency| agency.pid().is_some()) {
            agency.kill(&mut self.reaper);
            agency.start(&mut self.reaper);
        }
    }

    // ---- helpers ----

    fn running_client(&mut self, pick: usize) -> Option<usize> {
        let running = self.running_clients();
        running.get(pick % running.len().max(1)).copied()
    }

    /// A running client that still has bets to send.
    fn sending_client(&mut self, pick: usize) -> Option<usize> {
        let mut sending = self.running_clients();
        sending.retain(|&index| !self.agencies[index].last_log().contains("action: apuestas_enviadas"));
        sending.get(pick % sending.len().max(1)).copied()
    }

    fn running_clients(&mut self) -> Vec<usize> {
        let reaper = &mut self.reaper;
        (0..self.agencies.len()).filter(|&index| self.agencies[index].is_running(reaper)).collect()
    }

    fn let_go(&mut self, children: &[i32], kill: bool) {
        if kill {
            self.lottery.kill_children(children);
        } else {
            self.signal_all(children, Signal::SIGCONT);
        }
    }

    fn signal_all(&self, pids: &[i32], what: Signal) {
        pids.iter().for_each(|&pid| signal(pid, what));
    }
}

/// Whether it holds before `time` is over.
fn within(time: Duration, glance: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        if glance.is_zero() {
            // The process that is awaited may need this processor.
            yield_now();
        } else {
            sleep(glance);
        }
    }
    true
}

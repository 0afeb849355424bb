//! Holding the draw, in a child that is forked for it: the parent never waits for a disk.
//!
//! The child scans the bets once, writes the result and makes it durable. Only then does the parent log `sorteo` and inform
//! the waiting children. If the child dies or fails, the parent empties the result and forks another child after a pause.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::process::{self, Exit, Handover, Pid};

use crate::config::server::Config;
use crate::exit_code::ExitStatus;
use crate::session::Common;
use crate::storage::{self, Store, Terms};
use crate::{draw, event, logging};

/// The first pause between attempts, and the longest; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The draw is held, and its result is durable.
    Held,
    /// The attempt failed. [`Drawing::deadline`] is the time of the next one.
    Retry,
    /// A sync failed: nothing may be acknowledged any more.
    Broken,
}

/// The attempts to hold the draw.
#[derive(Debug)]
pub struct Drawing {
    state: State,
    /// The pause after the next failure.
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// This child holds the draw.
    Running(Pid),
    /// No attempt begins before this time.
    Resting(Instant),
}

impl Drawing {
    /// No attempt has been made.
    pub fn new() -> Self {
        Self { state: State::Idle, pause: PAUSE_FIRST }
    }

    /// Whether an attempt runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether `pid` is the attempt that runs.
    pub fn is_child(&self, pid: Pid) -> bool {
        self.state == State::Running(pid)
    }

    /// When the pause between two attempts is over; `None` outside of pauses.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) => Some(until),
            State::Idle | State::Running(_) => None,
        }
    }

    /// Kills the attempt that runs.
    pub fn kill(&self) {
        if let State::Running(pid) = self.state {
            process::kill(pid);
        }
    }

    /// Forks a child that holds the draw, unless one runs or the pause after the last one is not over.
    pub fn begin(&mut self, common: &Rc<Common>, now: Instant) {
        if self.is_running() || self.deadline().is_some_and(|until| now < until) {
            return;
        }
        let spawned = process::spawn(Task(common.clone()), &[], |Task(common), _| {
            logging::forked();
            hold(&common).code()
        });
        match spawned {
            Ok(pid) => self.state = State::Running(pid),
            Err(e) => {
                event!(Error, "sorteo", in_progress, error = e);
                self.rest();
            }
        }
    }

    /// Judges the attempt whose child was reaped with `exit`.
    pub fn ended(&mut self, exit: Exit, store: &Store) -> Attempt {
        if ExitStatus::Done.is_of(exit) && matches!(store.result(), Ok(Some(_))) {
            *self = Self::new();
            return Attempt::Held;
        }
        event!(Error, "sorteo", in_progress, error = format!("the process that held it ended: {exit:?}"));
        // The child may have written all of it: a server that stops now would leave a result that was never announced.
        if let Err(e) = store.discard_result() {
            event!(Error, "sorteo", in_progress, error = e);
        }
        self.rest();
        if ExitStatus::StorageBroken.is_of(exit) { Attempt::Broken } else { Attempt::Retry }
    }

    fn rest(&mut self) {
        self.state = State::Resting(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_LONGEST);
    }
}

/// What the child gets from the parent. It opens its own files.
struct Task(Rc<Common>);

impl Handover for Task {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        [self.0.server_lock.as_fd()].into_iter().chain(logging::descriptor()).collect()
    }
}

/// The whole work of the child.
fn hold(common: &Common) -> ExitStatus {
    match try_hold(common) {
        Ok(()) => ExitStatus::Done,
        Err(e) => {
            event!(Error, "sorteo", in_progress, error = e);
            if matches!(e, storage::Error::Sync { .. }) { ExitStatus::StorageBroken } else { ExitStatus::Failed }
        }
    }
}

fn try_hold(common: &Common) -> storage::Result<()> {
    let store = Store::open(&common.paths, common.config.durability)?;
    let committed = store.committed_len()?;
    let Config { client_amount: agencies, winning_number, .. } = common.config;
    let winners = draw::winners(store.load_bets_with(winning_number, committed), winning_number)?;
    store.write_result(Terms { agencies, winning_number, committed }, &winners)
}

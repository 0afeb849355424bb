//! The draw child: the parent forks it to hold the draw, because the parent must never wait for a disk.
//!
//! Owns the attempts to hold the draw, at most one at a time, and the pauses between them. Used only by the parent's
//! event loop.
//!
//! The draw child scans the bets once, compares them with the ends, writes the result to the file `draw`, and makes it
//! durable. Then the parent logs `sorteo` and informs the waiting children. If the draw child dies or fails, the parent
//! forks another one after a pause. If a sync has failed, or the bets of an agency are not those that it has ended with,
//! the server stops instead.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::process::{self, Exit, Handover, Pid};

use crate::config::server::Config;
use crate::exit_code::ExitStatus;
use crate::session::Common;
use crate::storage::{self, Slots, Store};
use crate::{event, logging};

/// Pause after the first failed attempt. Each later pause is twice the previous one, up to [`PAUSE_LONGEST`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The draw is held, and its result is durable.
    Held,
    /// The attempt failed. The next one may begin at [`Drawing::deadline`].
    Retry,
    /// A sync failed, or bets are missing: the server must acknowledge nothing more, and must stop.
    Broken,
}

/// The attempts to hold the draw: the running one, or the pause before the next one.
#[derive(Debug)]
pub struct Drawing {
    state: State,
    /// The pause after the next failure.
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// The draw child with this pid runs.
    Running(Pid),
    /// No attempt begins before this time.
    Resting(Instant),
}

impl Drawing {
    /// The state before the first attempt.
    pub fn new() -> Self {
        Self { state: State::Idle, pause: PAUSE_FIRST }
    }

    /// Whether a draw child runs.
    pub fn is_running(&self) -> bool {
        self.child().is_some()
    }

    /// The running draw child.
    pub fn child(&self) -> Option<Pid> {
        match self.state {
            State::Running(pid) => Some(pid),
            State::Idle | State::Resting(_) => None,
        }
    }

    /// Whether `pid` is the running draw child.
    pub fn is_child(&self, pid: Pid) -> bool {
        self.child() == Some(pid)
    }

    /// The end of the current pause; `None` if there is no pause now.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) => Some(until),
            State::Idle | State::Running(_) => None,
        }
    }

    /// Lets the draw child continue, if one runs and is stopped.
    pub fn resume(&self) {
        self.child().into_iter().for_each(process::resume);
    }

    /// Kills the draw child, if one runs.
    pub fn kill(&self) {
        self.child().into_iter().for_each(process::kill);
    }

    /// Forks a draw child. Does nothing if one already runs, or if the current pause is not over at `now`. If the fork
    /// fails, logs the error and starts a pause.
    pub fn begin(&mut self, common: &Rc<Common>, slots: &Rc<Slots>, now: Instant) {
        if self.is_running() || self.deadline().is_some_and(|until| now < until) {
            return;
        }
        let spawned = process::spawn(Task(common.clone(), slots.clone()), &[], |task, _| {
            logging::forked();
            task.hold().code()
        });
        match spawned {
            Ok(pid) => self.state = State::Running(pid),
            Err(e) => {
                event!(Error, "sorteo", in_progress, error = e);
                self.start_pause();
            }
        }
    }

    /// Ends the running attempt, after its draw child was reaped with `exit`. If the attempt failed, starts a pause.
    pub fn reaped(&mut self, exit: Exit, store: &Store) -> Attempt {
        if ExitStatus::Done.is_of(exit) && matches!(store.result(), Ok(Some(_))) {
            *self = Self::new();
            return Attempt::Held;
        }
        event!(Error, "sorteo", in_progress, error = format!("the process that held it ended: {exit:?}"));
        self.start_pause();
        if ExitStatus::StorageBroken.is_of(exit) { Attempt::Broken } else { Attempt::Retry }
    }

    /// Starts a pause, and doubles the next one.
    fn start_pause(&mut self) {
        self.state = State::Resting(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_LONGEST);
    }
}

/// The values that a draw child gets from the parent. It opens its own files.
struct Task(Rc<Common>, Rc<Slots>);

impl Handover for Task {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        [self.0.life_lock.bets().as_fd()].into_iter().chain(logging::descriptor()).collect()
    }
}

impl Task {
    /// Holds the draw, in the draw child. Logs a failure, and returns the exit status of the draw child.
    fn hold(&self) -> ExitStatus {
        match self.try_hold() {
            Ok(()) => ExitStatus::Done,
            Err(e @ (storage::Error::Sync { .. } | storage::Error::Damaged { .. })) => {
                event!(Critical, "sorteo", fail, error = e);
                ExitStatus::StorageBroken
            }
            Err(e) => {
                event!(Error, "sorteo", in_progress, error = e);
                ExitStatus::Failed
            }
        }
    }

    fn try_hold(&self) -> storage::Result<()> {
        let Self(common, slots) = self;
        let Config { client_amount: agencies, winning_number, durability, .. } = common.config;
        let store = Store::open(&common.location, durability)?;
        storage::hold(&store, slots, agencies, winning_number)
    }
}

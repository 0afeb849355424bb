//! Holding the draw: in a child forked for it, since the parent never waits for a disk.
//!
//! The child scans the bets once, writes the result and makes it durable. Only then does the parent log `sorteo` and tell
//! the children that wait. Whatever a child that dies or finds no room has left of a result is emptied, and another one is
//! forked after a pause.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::process::{self, Exit, Handover, Pid};

use super::{Phase, Server};
use crate::config::server::Config;
use crate::messages::ParentEnd;
use crate::session::{self, Common};
use crate::storage::{self, Store, Terms};
use crate::{draw, event, logging};

/// Pauses between attempts.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// Exit codes of the child, besides those of a session.
const FAILED: u8 = 1;

/// The attempt that runs, or when the next one may.
#[derive(Debug, Default)]
pub struct Drawing {
    child: Option<Pid>,
    not_before: Option<Instant>,
    pause: Option<Duration>,
}

impl Drawing {
    /// Whether an attempt runs.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Whether `pid` is the attempt that runs.
    pub fn is_child(&self, pid: Pid) -> bool {
        self.child == Some(pid)
    }

    /// When the next attempt may begin.
    pub fn deadline(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.is_running())
    }

    /// Ends the attempt that runs.
    pub fn kill(&self) {
        self.child.into_iter().for_each(process::kill);
    }

    fn failed(&mut self) {
        let pause = self.pause.map_or(PAUSE_FIRST, |pause| (pause * 2).min(PAUSE_LONGEST));
        *self = Self { child: None, not_before: Some(Instant::now() + pause), pause: Some(pause) };
    }
}

/// What the child is given: it opens its own files.
struct Task(Rc<Common>);

impl Handover for Task {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        [self.0.server_lock.as_fd()].into_iter().chain(logging::descriptor()).collect()
    }
}

impl Server {
    /// Begins an attempt, if all agencies have ended and none runs.
    pub(super) fn hold_draw_if_due(&mut self) {
        let may_begin = self.phase == Phase::Serving && !self.drawing.is_running();
        let rests = self.drawing.deadline().is_some_and(|not_before| Instant::now() < not_before);
        if !may_begin || rests || !self.ledger.is_due() {
            return;
        }
        let spawned = process::spawn(Task(self.common.clone()), &[], |Task(common), _| {
            logging::forked();
            hold(&common)
        });
        match spawned {
            Ok(pid) => self.drawing.child = Some(pid),
            Err(e) => {
                event!(Error, "sorteo", in_progress, error = e);
                self.drawing.failed();
            }
        }
    }

    /// Announces the result, or sees to another attempt.
    pub(super) fn draw_child_ended(&mut self, exit: Exit) {
        self.drawing.child = None;
        if exit == Exit::Code(session::DONE.into()) && matches!(self.store.result(), Ok(Some(_))) {
            self.drawing = Drawing::default();
            self.ledger.hold_draw();
            event!(Info, "sorteo", success, agencias = self.common.config.client_amount);
            for token in self.waiters.take_all() {
                self.tell(token, ParentEnd::announce_draw);
            }
            return;
        }
        event!(Error, "sorteo", in_progress, error = format!("the process that held it ended: {exit:?}"));
        // It may have written all of it: a server that stops now would leave a draw that nobody has told of.
        if let Err(e) = self.store.discard_result() {
            event!(Error, "sorteo", in_progress, error = e);
        }
        self.drawing.failed();
        if exit == Exit::Code(session::STORAGE_BROKEN.into()) {
            self.break_down();
        }
    }
}

/// The whole work of the child; returns its exit code.
fn hold(common: &Common) -> u8 {
    match try_hold(common) {
        Ok(()) => session::DONE,
        Err(e) => {
            event!(Error, "sorteo", in_progress, error = e);
            if matches!(e, storage::Error::Sync { .. }) { session::STORAGE_BROKEN } else { FAILED }
        }
    }
}

fn try_hold(common: &Common) -> storage::Result<()> {
    let store = Store::open(&common.files, common.config.durability)?;
    let committed = store.committed_len()?;
    let Config { client_amount: agencies, winning_number, .. } = common.config;
    let winners = draw::winners(store.load_bets_on(winning_number, committed)?, winning_number)?;
    store.write_result(Terms { agencies, winning_number, committed }, &winners)
}

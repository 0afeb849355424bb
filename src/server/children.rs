//! The table of children, one for each connection.
//!
//! Owns the parent's ends of the links, and what the parent knows about each child. Used only by the parent's event loop.
//!
//! Trap: a link's end of stream and the child's SIGCHLD come in either order. If the link ends first, the parent stops
//! watching it, and expects the child's end. A child stays in the table after it has been reaped, until its last reports
//! have been read from the link.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use ipc::events::{Poller, Token};
use ipc::process::{self, Exit, Pid};

use super::budget::Budget;
use crate::bet::AgencyId;
use crate::event;
use crate::exit_code::ExitStatus;
use crate::messages::ParentEnd;

/// One child.
#[derive(Debug)]
pub struct Child {
    /// The process.
    pub pid: Pid,
    /// The address of its client.
    pub peer: IpAddr,
    /// The agency that it has claimed, or whose claim it waits for.
    pub agency: Option<AgencyId>,
    /// The agency whose slot it has asked for.
    pub slot_of: Option<AgencyId>,
    /// The reports that were read from it.
    pub budget: Budget,
    /// Its client has sent garbage.
    pub sent_garbage: bool,
    link: ParentEnd,
    watched: bool,
    reaped: bool,
    given_up: bool,
}

impl Child {
    /// The parent's end of the link.
    pub fn link(&self) -> &ParentEnd {
        &self.link
    }

    /// Kills a child that cannot be understood, reached or believed, and logs why. Its client connects again. From now on no
    /// report of the child counts.
    pub fn give_up(&mut self, why: &dyn Display) {
        event!(Error, "link", fail, pid = self.pid, error = why);
        self.given_up = true;
        self.kill();
    }

    /// Whether the parent has [given it up](Self::give_up).
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// When the parent may read the next report; `None` for now. The reports of a reaped child are its last ones.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.budget.exhausted(now).filter(|_| !self.reaped)
    }

    /// Kills the child, unless it has been reaped: then its pid may belong to another process.
    pub fn kill(&self) {
        if !self.reaped {
            process::kill(self.pid);
        }
    }

    /// Kills a child that was told to leave and has not.
    pub fn kill_overdue(&self) {
        event!(Warning, "kill_child", success, pid = self.pid, ip = self.peer, motivo = "no dejó su lugar a tiempo");
        self.kill();
    }

    /// Logs its end.
    pub fn log_exit(&self, exit: Exit) {
        let agencia = self.agency.map_or_else(|| "-".to_owned(), |agency| agency.to_string());
        if ExitStatus::Done.is_of(exit) {
            return event!(Debug, "child_exit", success, pid = self.pid, ip = self.peer, agencia = agencia);
        }
        let cause = match exit {
            _ if ExitStatus::Panicked.is_of(exit) => "panic".to_owned(),
            Exit::Code(code) => format!("código de salida {code}"),
            Exit::Killed(signal) => signal.to_string(),
            Exit::KilledByRealTimeSignal => "señal de tiempo real".to_owned(),
        };
        event!(Error, "child_exit", fail, pid = self.pid, ip = self.peer, agencia = agencia, causa = cause);
    }
}

/// All children. A reaped child is in the table until it is [removed](Self::remove).
#[derive(Debug)]
pub struct Children {
    by_token: HashMap<Token, Child>,
    by_pid: HashMap<Pid, Token>,
    /// Those whose link has ended or cannot be watched: they have ended, or will in a moment.
    ending: Vec<Token>,
    next: Token,
}

impl Children {
    /// An empty table, whose first child will have the token `first`. Tokens are never used again.
    pub fn new(first: Token) -> Self {
        Self { by_token: HashMap::new(), by_pid: HashMap::new(), ending: Vec::new(), next: first }
    }

    /// Adds a new child and watches its link. Returns its token, and the result of epoll_ctl(2). After an error the child is
    /// in the table all the same, until it is reaped, but its reports are not noticed.
    pub fn register(&mut self, poller: &Poller, pid: Pid, peer: IpAddr, link: ParentEnd) -> (Token, io::Result<()>) {
        let token = self.next;
        self.next.0 += 1;
        let watch = poller.watch_readable(&link, token);
        self.by_pid.insert(pid, token);
        let (watched, budget) = (watch.is_ok(), Budget::default());
        let (agency, slot_of) = (None, None);
        let (sent_garbage, reaped, given_up) = (false, false, false);
        let child = Child { pid, peer, agency, slot_of, budget, sent_garbage, link, watched, reaped, given_up };
        self.by_token.insert(token, child);
        if watch.is_err() {
            self.ending.push(token);
        }
        (token, watch)
    }

    /// The child with this token.
    pub fn get(&mut self, token: Token) -> Option<&mut Child> {
        self.by_token.get_mut(&token)
    }

    /// Stops watching the child's link for a while.
    pub fn rest(&mut self, poller: &Poller, token: Token) {
        if let Some(child) = self.by_token.get_mut(&token).filter(|child| child.watched) {
            child.watched = poller.remove(&child.link).is_err();
        }
    }

    /// Watches the child's link again, unless the child has been reaped.
    pub fn resume(&mut self, poller: &Poller, token: Token) {
        let Some(child) = self.by_token.get_mut(&token).filter(|child| !child.watched && !child.reaped) else { return };
        match poller.watch_readable(&child.link, token) {
            Ok(()) => child.watched = true,
            // Its reports would not be noticed.
            Err(e) => {
                child.give_up(&e);
                self.ending.push(token);
            }
        }
    }

    /// Stops watching the child's link, because it has ended or failed. The child is expected to end.
    pub fn link_ended(&mut self, poller: &Poller, token: Token) {
        if let Some(child) = self.by_token.get_mut(&token).filter(|child| child.watched) {
            child.watched = false;
            let _ = poller.remove(&child.link);
            self.ending.push(token);
        }
    }

    /// Reaps the children that have ended, among those that are expected to end. The caller must [remove](Self::remove) each.
    /// The cost grows only with the number of expected ends, and few are expected: a child ends a moment after its link.
    pub fn reap_ended(&mut self) -> Vec<(Token, Exit)> {
        let mut ended = Vec::new();
        let by_token = &self.by_token;
        self.ending.retain(|token| {
            // A child that is no longer in the table has been reaped.
            let Some(child) = by_token.get(token) else { return false };
            let exit = process::reap_child(child.pid);
            ended.extend(exit.map(|exit| (*token, exit)));
            exit.is_none()
        });
        ended
    }

    /// The child with this pid. A reaped child is in the table until it is removed.
    pub fn with_pid(&self, pid: Pid) -> Option<&Child> {
        self.by_pid.get(&pid).and_then(|token| self.by_token.get(token))
    }

    /// The token of the child with this pid. A reaped child is in the table until it is removed.
    pub fn token_of(&self, pid: Pid) -> Option<Token> {
        self.by_pid.get(&pid).copied()
    }

    /// Notes that the child has been reaped. It stays in the table until it is removed.
    pub fn reaped(&mut self, token: Token) {
        if let Some(child) = self.by_token.get_mut(&token) {
            child.reaped = true;
        }
    }

    /// Removes a reaped child.
    pub fn remove(&mut self, poller: &Poller, token: Token) -> Option<Child> {
        let child = self.by_token.remove(&token)?;
        if child.watched {
            let _ = poller.remove(&child.link);
        }
        self.by_pid.remove(&child.pid);
        Some(child)
    }

    /// Sends every child the order to stop.
    pub fn stop_all(&self) {
        for child in self.by_token.values() {
            // A child that is already gone does not need the order.
            let _ = child.link.stop();
        }
    }

    /// Lets every stopped child continue.
    pub fn resume_all(&self) {
        self.by_pid.keys().copied().for_each(process::resume);
    }

    /// Kills every child.
    pub fn kill_all(&self) {
        self.by_pid.keys().copied().for_each(process::kill);
    }

    /// The number of children in the table.
    pub fn len(&self) -> usize {
        self.by_token.len()
    }

    /// Whether the table has no child.
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }
}

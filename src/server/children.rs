//! The table of children: one connection each.
//!
//! Owns the parent's ends of the links, and for each child what it is to the parent. Used by the server's loop alone.
//!
//! Trap: a link's end of stream and the child's SIGCHLD come in either order. Here the link may end first, and then is
//! merely watched no longer; a child stays in the table until it is reaped, and what it had reported by then is read
//! from its link before it is forgotten.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use ipc::events::Poller;
use ipc::process::{self, Pid};

use crate::bet::AgencyId;
use crate::messages::ParentEnd;

/// The number of a connection, never used again; also its token in the poller.
pub use ipc::events::Token;

/// One child.
#[derive(Debug)]
pub struct Child {
    /// Its process.
    pub pid: Pid,
    /// Its client.
    pub peer: IpAddr,
    /// The agency that it has claimed, or waits for.
    pub agency: Option<AgencyId>,
    link: ParentEnd,
    watched: bool,
}

impl Child {
    /// The parent's end of its link.
    pub fn link(&self) -> &ParentEnd {
        &self.link
    }
}

/// All children that have not been reaped.
#[derive(Debug)]
pub struct Children {
    by_token: HashMap<Token, Child>,
    by_pid: HashMap<Pid, Token>,
    next: Token,
}

impl Children {
    /// Tokens start at `first`.
    pub fn new(first: Token) -> Self {
        Self { by_token: HashMap::new(), by_pid: HashMap::new(), next: first }
    }

    /// Takes a fresh child in and watches its link.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports; the child is in the table all the same, until it is reaped, but is not heard.
    pub fn register(&mut self, poller: &Poller, pid: Pid, peer: IpAddr, link: ParentEnd) -> io::Result<()> {
        let token = self.next;
        self.next.0 += 1;
        let watch = poller.watch_readable(&link, token);
        self.by_pid.insert(pid, token);
        self.by_token.insert(token, Child { pid, peer, agency: None, link, watched: watch.is_ok() });
        watch
    }

    /// The child with this token.
    pub fn get(&mut self, token: Token) -> Option<&mut Child> {
        self.by_token.get_mut(&token)
    }

    /// Watches the child's link no longer: it has ended, or cannot be understood.
    pub fn stop_watching(&mut self, poller: &Poller, token: Token) {
        if let Some(child) = self.by_token.get_mut(&token).filter(|child| child.watched) {
            child.watched = false;
            let _ = poller.remove(&child.link);
        }
    }

    /// The token of the child that was reaped as `pid`; it stays until it is forgotten.
    pub fn token_of(&self, pid: Pid) -> Option<Token> {
        self.by_pid.get(&pid).copied()
    }

    /// Takes a reaped child out.
    pub fn forget(&mut self, poller: &Poller, token: Token) -> Option<Child> {
        self.stop_watching(poller, token);
        let child = self.by_token.remove(&token)?;
        self.by_pid.remove(&child.pid);
        Some(child)
    }

    /// Tells every child to end.
    pub fn stop_all(&self) {
        for child in self.by_token.values() {
            // A child that is gone already needs no telling.
            let _ = child.link.stop();
        }
    }

    /// Kills every child.
    pub fn kill_all(&self) {
        self.by_pid.keys().copied().for_each(process::kill);
    }

    /// How many have not been reaped.
    pub fn len(&self) -> usize {
        self.by_token.len()
    }

    /// Whether all have been reaped.
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }
}

//! What the parent hands over to a session at the fork.

use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ipc::nursery::Parting;
use ipc::process::Handover;
use ipc::sandbox::Sandbox;

use crate::config::server::Config;
use crate::draw::Ledger;
use crate::logging;
use crate::messages::ChildEnd;
use crate::storage::lifelock::LifeLock;
use crate::storage::{Location, Slots};
use crate::tls::server::Acceptor;

/// Everything that a session gets from the parent.
pub struct Given {
    /// The connection.
    pub client: TcpStream,
    /// The client's address.
    pub peer: IpAddr,
    /// The child's end of the link.
    pub link: ChildEnd,
    /// The part that is the same for all sessions.
    pub common: Rc<Common>,
    /// The parent's ledger when the connection was accepted.
    pub ledger: Ledger,
    /// The slots that the parent had assigned by then.
    pub slots: Rc<Slots>,
}

/// The part that is the same for all sessions of a server.
#[derive(Debug)]
pub struct Common {
    /// The settings.
    pub config: Config,
    /// Where the files are.
    pub location: Location,
    /// Locked until the last process closes it: while a child of this server lives, no other server starts.
    pub life_lock: LifeLock,
    /// What a session gives up before it parses a byte.
    pub sandbox: Sandbox,
    /// Accepts TLS; `None` if the settings turn it off.
    pub tls: Option<Acceptor>,
}

impl Handover for Given {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let own = [self.client.as_fd(), self.link.as_fd(), self.common.life_lock.bets().as_fd()];
        own.into_iter().chain(logging::descriptor()).collect()
    }
}

impl Parting for Given {
    /// The parent keeps the life lock and the log open as long as it lives.
    fn part(self) -> Vec<OwnedFd> {
        vec![self.client.into(), self.link.into()]
    }
}

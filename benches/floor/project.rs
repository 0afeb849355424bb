//! A floor with the project's own fork.
//!
//! Next to the bare floor it shows the cost of the mechanism: the child's descriptors, signals and tie to its parent.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use ipc::events::{self, PollFd, PollFlags};
use ipc::process::{self, Handover};
use ipc::signals::{Signal, SignalSource};

use super::session;

/// Exit code of a child whose connection failed.
const BROKEN: u8 = 1;

/// Holds the first `held` connections until their client closes. Each later one gets an answer.
pub fn answer(listener: &TcpListener, held: u32) -> io::Result<()> {
    let stop = SignalSource::subscribe(&[Signal::SIGTERM])?;
    let mut accepted = 0;
    while wait(listener, &stop)? == Wake::Connection {
        let (client, _) = listener.accept()?;
        accepted += 1;
        process::spawn(Session { client, held: accepted <= held }, &[], |session, _| session.serve())?;
        while process::reap().is_some() {}
    }
    while nix::sys::wait::wait().is_ok() {}
    Ok(())
}

/// The event that ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Connection,
    Stop,
}

fn wait(listener: &TcpListener, stop: &SignalSource) -> io::Result<Wake> {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    events::wait(&mut fds, None)?;
    Ok(if fds[1].any() == Some(false) { Wake::Connection } else { Wake::Stop })
}

/// The connection of a child.
struct Session {
    client: TcpStream,
    held: bool,
}

impl Handover for Session {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.client.as_fd()]
    }
}

impl Session {
    /// Serves the connection. Returns the child's exit code.
    fn serve(self) -> u8 {
        let served = if self.held { session::hold(self.client) } else { session::answer(self.client) };
        served.map_or(BROKEN, |()| 0)
    }
}

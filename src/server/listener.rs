//! The listening socket: bound early, listening late, and out of the poll set while nothing may be accepted.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use ipc::events::Poller;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, setsockopt, sockopt};

use super::children::Token;
use crate::event;

/// How long nothing is accepted after accept(2) or fork(2) failed for want of descriptors, processes or memory.
const BACK_OFF: Duration = Duration::from_millis(100);
/// At most one line about that in this time; the others are counted.
const QUIET: Duration = Duration::from_secs(10);
/// Connections in a row that may have failed before the loop looks at what else there is.
const TRIES: usize = 16;

/// A bound socket, and when it is listened to.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    watched: bool,
    resting_until: Option<Instant>,
    complained: Option<Instant>,
    unsaid: u32,
}

impl Listener {
    /// Binds `port` (0: any free one) on every IPv4 interface. Nobody can connect yet.
    ///
    /// # Errors
    /// What socket(2), setsockopt(2) and bind(2) report.
    pub fn bind(port: u16) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        // A restart binds at once, whatever connections of its predecessor the kernel still remembers.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        socket::bind(socket.as_raw_fd(), &any)?;
        Ok(Self { socket: socket.into(), watched: false, resting_until: None, complained: None, unsaid: 0 })
    }

    /// Lets clients connect: up to `backlog` of them, and at most what the kernel allows, ahead of [`Listener::accept`].
    /// Returns the port.
    ///
    /// # Errors
    /// What listen(2) and getsockname(2) report.
    pub fn listen(&self, backlog: u32) -> io::Result<u16> {
        // std's own listen has a backlog of 128, whatever is configured.
        let backlog = i32::try_from(backlog).ok().and_then(|backlog| Backlog::new(backlog).ok());
        socket::listen(&self.socket, backlog.unwrap_or(Backlog::MAXCONN))?;
        Ok(self.socket.local_addr()?.port())
    }

    /// Puts the socket into the poll set, or takes it out, as `wanted` and its rest say.
    pub fn watch(&mut self, poller: &Poller, token: Token, wanted: bool) {
        if self.resting_until.is_some_and(|until| until <= Instant::now()) {
            self.resting_until = None;
        }
        let wanted = wanted && self.resting_until.is_none();
        if wanted == self.watched {
            return;
        }
        let changed = if wanted { poller.watch_readable(&self.socket, token) } else { poller.remove(&self.socket) };
        match changed {
            Ok(()) => self.watched = wanted,
            Err(e) => self.back_off("epoll_ctl", &e),
        }
    }

    /// The next connection, if there is one, or none but such as have failed.
    pub fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        for _ in 0..TRIES {
            match self.socket.accept() {
                Ok(accepted) => return Some(accepted),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(e) if is_of_one_connection(&e) => {}
                Err(e) => {
                    self.back_off("accept", &e);
                    return None;
                }
            }
        }
        None
    }

    /// Rests for a moment after `error`: without that the loop would spin on a socket that stays ready.
    pub fn back_off(&mut self, action: &str, error: &io::Error) {
        let now = Instant::now();
        self.resting_until = Some(now + BACK_OFF);
        if self.complained.is_some_and(|last| now < last + QUIET) {
            self.unsaid += 1;
            return;
        }
        event!(Error, "accept_connections", fail, llamada = action, error = error, no_informados = self.unsaid);
        (self.complained, self.unsaid) = (Some(now), 0);
    }

    /// When the rest is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.resting_until
    }

    /// Closes the socket: whoever connects from now on is refused.
    pub fn close(self, poller: &Poller) {
        if self.watched {
            let _ = poller.remove(&self.socket);
        }
        drop(self.socket);
        event!(Info, "close_listener", success);
    }
}

/// accept(2) also reports what went wrong with the connection that it would have returned: the next one may be fine. EPERM
/// is none of these: who forbids it forbids the next one as well, which is the same.
fn is_of_one_connection(e: &io::Error) -> bool {
    const PASSING: [Errno; 10] = [
        Errno::EINTR,
        Errno::ECONNABORTED,
        Errno::EPROTO,
        Errno::ENETDOWN,
        Errno::ENOPROTOOPT,
        Errno::EHOSTDOWN,
        Errno::ENONET,
        Errno::EHOSTUNREACH,
        Errno::EOPNOTSUPP,
        Errno::ENETUNREACH,
    ];
    e.raw_os_error().is_some_and(|errno| PASSING.contains(&Errno::from_raw(errno)))
}

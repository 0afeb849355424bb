//! The listening socket: bound early, listening late, and out of the poll set while the parent accepts nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use ipc::events::{Poller, Token};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, setsockopt, sockopt};

use crate::event;
use crate::tcp;

/// How long the parent accepts nothing after accept(2) or fork(2) failed for want of descriptors, processes or memory.
const BACK_OFF: Duration = Duration::from_millis(100);
/// At most one failure is logged in this time. The next line counts the others.
const QUIET: Duration = Duration::from_secs(10);
/// Failed connections in a row after which the event loop looks at other events.
const TRIES: usize = 16;
/// How long a peer may leave sent bytes unacknowledged. MESSAGE_TIMEOUT counts instead if it is longer.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of answers that the kernel keeps for a client. By default it keeps megabytes, and reports room only after a third
/// of them is gone, so a client that reads slowly would look like one that reads nothing.
const SEND_BUFFER: usize = 64 * 1024;

/// The listening socket, and when it is in the poll set.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    watched: bool,
    resting_until: Option<Instant>,
    logged: Option<Instant>,
    unlogged: u32,
}

impl Listener {
    /// Binds `port` (0: any free one) on every IPv4 interface. No client can connect yet.
    ///
    /// # Errors
    /// The error of socket(2), setsockopt(2) or bind(2).
    pub fn bind(port: u16) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        // Without this option, connections of an earlier server that the kernel still remembers refuse a restart.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        socket::bind(socket.as_raw_fd(), &any)?;
        Ok(Self { socket: socket.into(), watched: false, resting_until: None, logged: None, unlogged: 0 })
    }

    /// Lets clients connect; returns the port. The kernel completes up to `backlog` connections before they are accepted,
    /// or fewer if its own limit is lower. Each connection inherits the options of this socket, so a child sets none.
    ///
    /// # Errors
    /// The error of setsockopt(2), listen(2) or getsockname(2).
    pub fn listen(&self, backlog: u32, message_timeout: Duration) -> io::Result<u16> {
        setsockopt(&self.socket, sockopt::SndBuf, &SEND_BUFFER)?;
        tcp::configure(&self.socket, message_timeout.max(USER_TIMEOUT))?;
        // std::net::TcpListener always listens with a backlog of 128.
        let backlog = i32::try_from(backlog).ok().and_then(|backlog| Backlog::new(backlog).ok());
        socket::listen(&self.socket, backlog.unwrap_or(Backlog::MAXCONN))?;
        Ok(self.socket.local_addr()?.port())
    }

    /// Puts the socket into the poll set if it is `wanted` and does not rest; takes it out otherwise.
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

    /// The next connection, whose socket never blocks; `None` if none is pending, or if too many in a row have failed.
    pub fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        for _ in 0..TRIES {
            match self.socket.accept().and_then(never_blocking) {
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

    /// Rests for a moment after `error`, because the socket stays ready and the event loop would spin.
    pub fn back_off(&mut self, action: &str, error: &io::Error) {
        let now = Instant::now();
        self.resting_until = Some(now + BACK_OFF);
        if self.logged.is_some_and(|last| now < last + QUIET) {
            self.unlogged += 1;
            return;
        }
        event!(Error, "accept_connections", fail, llamada = action, error = error, no_informados = self.unlogged);
        (self.logged, self.unlogged) = (Some(now), 0);
    }

    /// When the rest is over; `None` if the socket does not rest.
    pub fn deadline(&self) -> Option<Instant> {
        self.resting_until
    }

    /// Closes the socket: the kernel refuses later connections.
    pub fn close(self, poller: &Poller) {
        if self.watched {
            let _ = poller.remove(&self.socket);
        }
        drop(self.socket);
        event!(Info, "close_listener", success);
    }
}

/// Unlike the options, the kernel does not let a connection inherit this flag.
fn never_blocking((client, peer): (TcpStream, SocketAddr)) -> io::Result<(TcpStream, SocketAddr)> {
    client.set_nonblocking(true)?;
    Ok((client, peer))
}

/// Whether accept(2) failed because of the connection that it would have returned, so that the next one may succeed. EPERM
/// is not among these errors: a rule that forbids one connection forbids the next one as well.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every Linux does this, but no manual page promises it. A kernel that does not would keep silent connections for ever.
    #[test]
    fn accepted_connections_inherit_all_options() {
        let mut listener = Listener::bind(0).unwrap();
        let port = listener.listen(5, Duration::from_secs(77)).unwrap();
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (accepted, _) = std::iter::repeat_with(|| listener.accept()).find_map(|accepted| accepted).unwrap();
        let get = |name: &str| match name {
            "keepalive" => u64::from(socket::getsockopt(&accepted, sockopt::KeepAlive).unwrap()),
            "no delay" => u64::from(socket::getsockopt(&accepted, sockopt::TcpNoDelay).unwrap()),
            "idle" => u64::from(socket::getsockopt(&accepted, sockopt::TcpKeepIdle).unwrap()),
            "interval" => u64::from(socket::getsockopt(&accepted, sockopt::TcpKeepInterval).unwrap()),
            "probes" => u64::from(socket::getsockopt(&accepted, sockopt::TcpKeepCount).unwrap()),
            "timeout" => u64::from(socket::getsockopt(&accepted, sockopt::TcpUserTimeout).unwrap()),
            // The kernel doubles the size, for its own records.
            _ => socket::getsockopt(&accepted, sockopt::SndBuf).unwrap() as u64 / 2,
        };
        let names = ["keepalive", "no delay", "idle", "interval", "probes", "timeout", "buffer"];
        assert_eq!(names.map(get), [1, 1, 10, 5, 3, 77_000, SEND_BUFFER as u64]);
    }

    #[test]
    fn accepted_connections_never_block() {
        let mut listener = Listener::bind(0).unwrap();
        let port = listener.listen(5, USER_TIMEOUT).unwrap();
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (accepted, _) = std::iter::repeat_with(|| listener.accept()).find_map(|accepted| accepted).unwrap();
        assert_eq!(accepted.peek(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

//! The listening sockets, one for each address: bound early, listening late, and out of the poll set while the parent accepts
//! nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use ipc::events::{Poller, Token};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};

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

/// How often to look for a free port that is free on every address.
const PORTS: usize = 16;

/// A socket with its address.
type Bound = (SocketAddr, TcpListener);
/// The address that cannot be used, and the error of the system call.
pub type Failure = (SocketAddr, io::Error);

/// The listening sockets, and when they are in the poll set.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<Bound>,
    /// The socket that is asked first.
    turn: usize,
    watched: bool,
    resting_until: Option<Instant>,
    logged: Option<Instant>,
    unlogged: u32,
}

impl Listener {
    /// Binds `port` (0: any free one) on each of `addresses`; if there are none, on every interface, IPv4 and (where the
    /// machine has it) IPv6. No client can connect yet.
    ///
    /// # Errors
    /// The first address that cannot be used, with the error of socket(2), setsockopt(2) or bind(2).
    pub fn bind(port: u16, addresses: &[IpAddr]) -> Result<Self, Failure> {
        let bound = |port| if addresses.is_empty() { bind_everywhere(port) } else { bind_all(port, addresses) };
        let mut tries = if port == 0 { PORTS } else { 1 };
        let sockets = loop {
            match bound(port) {
                Err((_, e)) if e.kind() == io::ErrorKind::AddrInUse && tries > 1 => tries -= 1,
                bound => break bound?,
            }
        };
        Ok(Self { sockets, turn: 0, watched: false, resting_until: None, logged: None, unlogged: 0 })
    }

    /// Lets clients connect; returns the port. The kernel completes up to `backlog` connections of each address before they
    /// are accepted, or fewer if its own limit is lower. Each connection inherits the options of its socket, so a child sets
    /// none.
    ///
    /// # Errors
    /// As for [`Listener::bind`], from setsockopt(2) or listen(2).
    pub fn listen(&self, backlog: u32, message_timeout: Duration) -> Result<u16, Failure> {
        // std::net::TcpListener always listens with a backlog of 128.
        let backlog = i32::try_from(backlog).ok().and_then(|backlog| Backlog::new(backlog).ok());
        let start = |socket| {
            setsockopt(socket, sockopt::SndBuf, &SEND_BUFFER)?;
            tcp::configure(socket, message_timeout.max(USER_TIMEOUT))?;
            socket::listen(socket, backlog.unwrap_or(Backlog::MAXCONN))?;
            Ok(())
        };
        self.sockets.iter().try_for_each(|(at, socket)| start(socket).map_err(|e| (*at, e)))?;
        Ok(self.sockets[0].0.port())
    }

    /// Puts the sockets into the poll set, all with `token`, if they are `wanted` and do not rest; takes them out otherwise.
    pub fn watch(&mut self, poller: &Poller, token: Token, wanted: bool) {
        if self.resting_until.is_some_and(|until| until <= Instant::now()) {
            self.resting_until = None;
        }
        let wanted = wanted && self.resting_until.is_none();
        if wanted == self.watched {
            return;
        }
        for (done, (_, socket)) in self.sockets.iter().enumerate() {
            let changed = if wanted { poller.watch_readable(socket, token) } else { poller.remove(socket) };
            if let Err(e) = changed {
                // All or none, so that the next attempt begins from a known state.
                self.sockets[..done].iter().filter(|_| wanted).for_each(|(_, socket)| drop(poller.remove(socket)));
                return self.back_off("epoll_ctl", &e);
            }
        }
        self.watched = wanted;
    }

    /// The next connection, whose socket never blocks; `None` if none is pending, or if too many in a row have failed. The
    /// addresses take turns.
    pub fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        (0..self.sockets.len()).find_map(|_| {
            let (_, socket) = &self.sockets[self.turn];
            self.turn = (self.turn + 1) % self.sockets.len();
            match accept_from(socket) {
                Ok(accepted) => accepted,
                Err(e) => {
                    self.back_off("accept", &e);
                    None
                }
            }
        })
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

    /// Closes the sockets: the kernel refuses later connections.
    pub fn close(self, poller: &Poller) {
        if self.watched {
            self.sockets.iter().for_each(|(_, socket)| drop(poller.remove(socket)));
        }
        drop(self.sockets);
        event!(Info, "close_listener", success);
    }
}

/// Binds `port` on every interface. A machine without IPv6 has no socket for it.
fn bind_everywhere(port: u16) -> Result<Vec<Bound>, Failure> {
    let mut sockets = bind_all(port, &[Ipv4Addr::UNSPECIFIED.into()])?;
    match bind_all(sockets[0].0.port(), &[Ipv6Addr::UNSPECIFIED.into()]) {
        Ok(others) => sockets.extend(others),
        Err((_, e)) if is_without_ipv6(&e) => {}
        Err(failed) => return Err(failed),
    }
    Ok(sockets)
}

fn is_without_ipv6(e: &io::Error) -> bool {
    const ABSENT: [Errno; 3] = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::EPROTONOSUPPORT];
    e.raw_os_error().is_some_and(|errno| ABSENT.contains(&Errno::from_raw(errno)))
}

/// Binds the same port on each of `addresses`; port 0 becomes the free port that the first of them gets.
fn bind_all(mut port: u16, addresses: &[IpAddr]) -> Result<Vec<Bound>, Failure> {
    let mut sockets = Vec::new();
    for &address in addresses {
        let wanted = SocketAddr::new(address, port);
        let bound = bind(wanted).map_err(|e| (wanted, e))?;
        port = bound.0.port();
        sockets.push(bound);
    }
    Ok(sockets)
}

fn bind(at: SocketAddr) -> io::Result<Bound> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket::socket(family, SockType::Stream, flags, None)?;
    // Without this option, connections of an earlier server that the kernel still remembers refuse a restart.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if at.is_ipv6() {
        // Otherwise the socket would take IPv4 as well, and log its peers as ::ffff:127.0.0.1.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
    let socket = TcpListener::from(socket);
    Ok((socket.local_addr()?, socket))
}

/// Accepts a connection: `None` if none is pending, or if [`TRIES`] in a row have failed.
fn accept_from(socket: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    for _ in 0..TRIES {
        match socket.accept().and_then(never_blocking) {
            Ok(accepted) => return Ok(Some(accepted)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
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
        let mut listener = Listener::bind(0, &[Ipv4Addr::LOCALHOST.into()]).unwrap();
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
    fn addresses_share_a_port_and_take_turns() {
        let addresses = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
        let mut listener = Listener::bind(0, &addresses.map(IpAddr::from)).unwrap();
        let port = listener.listen(5, USER_TIMEOUT).unwrap();
        let clients = [0, 0, 1].map(|at: usize| TcpStream::connect((addresses[at], port)).unwrap());
        let accepted: Vec<_> = std::iter::repeat_with(|| listener.accept()).flatten().take(clients.len()).collect();
        let at: Vec<_> = accepted.iter().map(|(socket, _)| socket.local_addr().unwrap().ip()).collect();
        assert_eq!(at, [0, 1, 0].map(|at: usize| IpAddr::from(addresses[at])));
        let taken = Listener::bind(port, &[addresses[1].into()]).unwrap_err();
        assert_eq!((taken.0, taken.1.kind()), ((addresses[1], port).into(), io::ErrorKind::AddrInUse));
    }

    #[test]
    fn accepted_connections_never_block() {
        let mut listener = Listener::bind(0, &[Ipv4Addr::LOCALHOST.into()]).unwrap();
        let port = listener.listen(5, USER_TIMEOUT).unwrap();
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (accepted, _) = std::iter::repeat_with(|| listener.accept()).find_map(|accepted| accepted).unwrap();
        assert_eq!(accepted.peek(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

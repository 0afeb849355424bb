//! Sockets that are connected to one address, and never block.
//!
//! Owns the steps of connect(2). Used by the connection. Knows no bytes.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ipc::events::PollFlags;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};

use super::error::{Error, Lost};
use super::stop::StopSignal;
use crate::tcp;

/// How long one address may take to answer the first packet: the packet is repeated after 1 s and 3 s, and this allows
/// some seconds more.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Connects to `peer`. The connection is lost when `peer` leaves sent bytes unacknowledged for `user_timeout`.
///
/// # Errors
/// [`Lost::Connect`] if `peer` does not accept; [`Error::Stopped`] after a request to stop.
pub fn open(peer: SocketAddr, user_timeout: Duration, stop: &StopSignal) -> Result<TcpStream, Error> {
    let failed = |errno: Errno| Error::from(Lost::Connect { peer, source: errno.into() });
    let family = if peer.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(family, SockType::Stream, flags, None).map_err(failed)?;
    tcp::configure(&socket, user_timeout).map_err(failed)?;
    match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(peer)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let deadline = Instant::now() + CONNECT_PATIENCE;
    if stop.wait(socket.as_fd(), PollFlags::POLLOUT, Some(deadline))?.is_empty() {
        return Err(failed(Errno::ETIMEDOUT));
    }
    match socket::getsockopt(&socket, sockopt::SocketError).map_err(failed)? {
        0 => refuse_self_connection(socket.into(), peer),
        errno => Err(failed(Errno::from_raw(errno))),
    }
}

/// Trap: if no process listens on a port in this machine's ephemeral range, the kernel may pick that port as the local
/// one and connect the socket to itself. A client that retries in a loop will meet this.
fn refuse_self_connection(stream: TcpStream, peer: SocketAddr) -> Result<TcpStream, Error> {
    match stream.local_addr() {
        Ok(own) if own == peer => Err(Lost::Connect { peer, source: Errno::ECONNREFUSED.into() }.into()),
        _ => Ok(stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket with a port of its own that does not listen.
    fn bound() -> TcpStream {
        let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(any)).unwrap();
        socket.into()
    }

    #[test]
    fn port_without_listener_is_a_temporary_failure() {
        let stop = StopSignal::never();
        let bound = bound();
        let taken = bound.local_addr().unwrap();
        let error = open(taken, CONNECT_PATIENCE, &stop).unwrap_err();
        assert!(error.is_temporary() && error.to_string().contains(&taken.to_string()), "{error}");
    }

    #[test]
    fn socket_connected_to_itself_is_refused() {
        let stream = bound();
        let own = stream.local_addr().unwrap();
        socket::connect(stream.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
        assert!(refuse_self_connection(stream, own).unwrap_err().is_temporary());
    }
}

//! Ports that a server can be told to take, and to take again.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

/// A port that nobody has nor another caller is given, out of the range from which the kernel gives ports to clients.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() * 7 + 1000 * GIVEN.fetch_add(1, Ordering::Relaxed);
    let ports = (0..20_000).map(|n| 10_000 + (first + n) % 20_000);
    ports.map(|port| port.try_into().unwrap()).find(|&port| !is_bound(port)).unwrap()
}

/// Whether anybody has the port, also without listening to it yet: a bind(2) that shares nothing fails then.
pub fn is_bound(port: u16) -> bool {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    socket::bind(socket.as_raw_fd(), &address) == Err(Errno::EADDRINUSE)
}

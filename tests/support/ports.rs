//! Ports that a server can be configured with, and can bind again later.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

/// A port that is not bound and that no other caller gets. It lies outside the range from which the kernel gives ports
/// to clients.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() * 7 + 1000 * GIVEN.fetch_add(1, Ordering::Relaxed);
    let ports = (0..20_000).map(|n| 10_000 + (first + n) % 20_000);
    ports.map(|port| port.try_into().unwrap()).find(|&port| !is_bound(port)).unwrap()
}

/// Whether some process has bound the port, even if it does not listen yet: an exclusive bind(2) fails then.
pub fn is_bound(port: u16) -> bool {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    socket::bind(socket.as_raw_fd(), &address) == Err(Errno::EADDRINUSE)
}

//! TCP sockets of this machine, by what the kernel lists.

use std::fs;

use super::{PATIENCE, descriptors, poll_until};

/// The kernel's entry for one TCP socket.
pub struct Socket {
    /// Its port.
    pub local: u16,
    /// The port of its peer; 0 if it listens.
    pub remote: u16,
    /// Its inode; 0 if no process has it open any more.
    pub inode: u64,
    /// Bytes that its peer has not taken yet.
    pub unsent: u64,
    /// Bytes that its process has not taken yet.
    pub unread: u64,
}

/// All TCP sockets over IPv4 in the network namespace of this thread.
pub fn sockets() -> Vec<Socket> {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let entries = table.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |address: &str| hex(address.split_once(':').unwrap().1).try_into().unwrap();
        let (unsent, unread) = fields[4].split_once(':').unwrap();
        let (local, remote) = (port(fields[1]), port(fields[2]));
        Socket { local, remote, inode: fields[9].parse().unwrap(), unsent: hex(unsent), unread: hex(unread) }
    });
    entries.collect()
}

/// Waits until the process listens, and returns its port: for servers that do not log it.
#[track_caller]
pub fn listening_port(pid: i32) -> u16 {
    let port = poll_until(PATIENCE, || {
        let open: Vec<_> = descriptors(pid).into_values().collect();
        let listening = |socket: &Socket| socket.remote == 0 && open.contains(&format!("socket:[{}]", socket.inode));
        sockets().into_iter().find(listening).map(|socket| socket.local)
    });
    let Some(port) = port else { panic!("process {pid} does not listen") };
    port
}

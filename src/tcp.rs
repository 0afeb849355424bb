//! Options that both ends of every connection set.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// A peer that has vanished without a word is found out within 10 s + 3 × 5 s.
const KEEPALIVE_IDLE_S: u32 = 10;
const KEEPALIVE_INTERVAL_S: u32 = 5;
const KEEPALIVE_PROBES: u32 = 3;

/// Messages leave when they are complete, not when a packet is full; and a peer that has vanished is noticed: by probes
/// while nothing is under way, within `user_timeout` while something is.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn configure(socket: &impl AsFd, user_timeout: Duration) -> nix::Result<()> {
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_S)?;
    setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    // The kernel takes a signed number.
    let milliseconds = i32::try_from(user_timeout.as_millis()).unwrap_or(i32::MAX);
    setsockopt(socket, sockopt::TcpUserTimeout, &milliseconds.unsigned_abs())
}

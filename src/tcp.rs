//! Socket options of both ends of every connection. The server sets them on its listening socket, whose connections inherit
//! them.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// Keepalive probes find a peer that vanished without closing within 10 s + 3 × 5 s.
const KEEPALIVE_IDLE_S: u32 = 10;
const KEEPALIVE_INTERVAL_S: u32 = 5;
const KEEPALIVE_PROBES: u32 = 3;

/// Sends messages as soon as they are complete, not when a packet is full; and notices a peer that vanished: by keepalive
/// probes on an idle connection, or after `user_timeout` without an acknowledgement of sent bytes. A `user_timeout` above
/// 24 days counts as 24 days.
///
/// # Errors
/// The error of setsockopt(2).
pub fn configure(socket: &impl AsFd, user_timeout: Duration) -> nix::Result<()> {
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_S)?;
    setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    // The kernel takes a signed number of milliseconds.
    let milliseconds = i32::try_from(user_timeout.as_millis()).unwrap_or(i32::MAX);
    setsockopt(socket, sockopt::TcpUserTimeout, &milliseconds.unsigned_abs())
}

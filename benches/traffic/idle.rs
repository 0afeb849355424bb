//! Connections that send nothing: each keeps a child of the server alive.

use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::{Running, children_of};
use crate::stop::Stop;

/// Connections that are opened before the server must have forked their children. The kernel's queue holds more.
const AT_ONCE: u32 = 500;
/// How long the server may take for all children.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at the server's children.
const INTERVAL: Duration = Duration::from_millis(5);

/// Open connections. They end when this value is dropped.
pub struct Idle(#[expect(dead_code, reason = "holds the connections open")] Vec<TcpStream>);

impl Idle {
    /// Opens `count` connections, and waits until each has a child. Returns `None` if the server does not fork them in
    /// time.
    pub fn open(server: &Running, count: u32, stop: &Stop) -> Result<Option<Self>> {
        let end = Instant::now() + PATIENCE;
        let mut connections = Vec::new();
        while connections.len() < count as usize {
            for _ in 0..AT_ONCE.min(count - connections.len() as u32) {
                connections.push(TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?);
            }
            let forked = || Ok((children_of(server.pid())?.len() >= connections.len()).then_some(()));
            let left = end.saturating_duration_since(Instant::now());
            if stop.until_every(INTERVAL, left, forked)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(Self(connections)))
    }
}

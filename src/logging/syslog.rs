//! The syslog target: RFC 3164 packets to a local daemon.
//!
//! Owns the socket; the `syslog` crate writes the form of a packet. One unconnected send a line, so that a restarted
//! daemon is found again, and never waiting: a line that the daemon does not take is lost.
//!
//! Trap: the formatter fixes the pid when it is made. A child makes its own ([`Syslog::forked`]).

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use syslog::{Facility, Formatter3164, LogFormat};

use super::Level;

/// A local syslog daemon.
pub struct Syslog {
    /// For as long as the process lives: its children keep it open by number.
    socket: &'static UnixDatagram,
    daemon: PathBuf,
    formatter: Formatter3164,
}

impl Syslog {
    /// The daemon behind the datagram socket `daemon`; it need not be there yet.
    ///
    /// # Errors
    /// What socket(2) reports.
    pub fn new(daemon: &Path) -> io::Result<Self> {
        let socket = Box::leak(Box::new(UnixDatagram::unbound()?));
        socket.set_nonblocking(true)?;
        let process = std::env::args().next().unwrap_or_default();
        let process = Path::new(&process).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let formatter =
            Formatter3164 { facility: Facility::LOG_DAEMON, hostname: None, process, pid: std::process::id() };
        Ok(Self { socket, daemon: daemon.to_owned(), formatter })
    }

    /// What a forked child must keep open.
    pub fn descriptor(&self) -> BorrowedFd<'static> {
        self.socket.as_fd()
    }

    /// In a forked child: lines carry its own pid.
    pub fn forked(&mut self) {
        self.formatter.pid = std::process::id();
    }

    /// Sends one line.
    pub fn write(&mut self, level: Level, event: &fmt::Arguments<'_>) {
        let mut packet = Vec::new();
        let written = match level {
            Level::Critical => self.formatter.crit(&mut packet, event),
            Level::Error => self.formatter.err(&mut packet, event),
            Level::Warning => self.formatter.warning(&mut packet, event),
            Level::Info => self.formatter.info(&mut packet, event),
            Level::Debug => self.formatter.debug(&mut packet, event),
        };
        if written.is_ok() {
            packet.truncate(super::LINE_MAX);
            let _ = self.socket.send_to(&packet, &self.daemon);
        }
    }
}

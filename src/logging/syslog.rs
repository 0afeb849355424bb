//! The syslog target: RFC 3164 packets to a local daemon.
//!
//! Owns the socket. Used by [`super::outputs`]. The `syslog` crate formats the packets. Each line is one send on an
//! unconnected socket, so a restarted daemon receives lines again. A send never waits: a line that the daemon does not
//! accept is lost.
//!
//! Trap: the formatter fixes the pid when it is created. A child sets its own pid with [`Syslog::forked`].

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use syslog::{Facility, Formatter3164, LogFormat};

use super::level::Level;
use super::lines::LINE_MAX;

/// A local syslog daemon.
pub struct Syslog {
    /// Lives as long as the process, because children keep it open by its number.
    socket: &'static UnixDatagram,
    daemon: PathBuf,
    formatter: Formatter3164,
}

impl Syslog {
    /// The daemon that receives on the datagram socket `daemon`. It may start later.
    ///
    /// # Errors
    /// The error of socket(2), and [`ErrorKind::InvalidInput`] if no daemon can ever receive there: see [`check`].
    pub fn new(daemon: &Path) -> io::Result<Self> {
        check(daemon)?;
        let socket = Box::leak(Box::new(UnixDatagram::unbound()?));
        socket.set_nonblocking(true)?;
        let process = std::env::args().next().unwrap_or_default();
        let process = Path::new(&process).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let formatter =
            Formatter3164 { facility: Facility::LOG_DAEMON, hostname: None, process, pid: std::process::id() };
        Ok(Self { socket, daemon: daemon.to_owned(), formatter })
    }

    /// The descriptor that a forked child must keep open.
    pub fn descriptor(&self) -> BorrowedFd<'static> {
        self.socket.as_fd()
    }

    /// In a forked child: lines carry the child's pid from now on.
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
            packet.truncate(LINE_MAX);
            let _ = self.socket.send_to(&packet, &self.daemon);
        }
    }
}

/// Refuses a path that takes no line, now or later: a stream socket, a path that is too long, a folder without access. A
/// missing socket, or one without a receiver, is allowed: the daemon may start later.
fn check(daemon: &Path) -> io::Result<()> {
    let why = match UnixDatagram::unbound()?.connect(daemon) {
        Err(e) if e.raw_os_error() == Some(Errno::EPROTOTYPE as i32) => "it is not a datagram socket".to_owned(),
        Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => e.to_string(),
        _ => return Ok(()),
    };
    let text = format!("the syslog socket {daemon:?} cannot be used: {why}");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

//! The targets of the log: standard output, the syslog daemon, or both.
//!
//! Owns both targets of a process. Used by [`super::logger`].

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::level::Level;
use super::lines::Line;
use super::sink::Sink;
use super::syslog::Syslog;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Whether lines go to standard output.
    pub stdout: bool,
    /// The socket of the syslog daemon, if lines go there.
    pub syslog: Option<PathBuf>,
}

/// The open targets.
pub(super) struct Outputs {
    pub(super) stdout: Option<Sink>,
    syslog: Option<Syslog>,
    line: Line,
}

impl Outputs {
    /// Opens `targets`.
    pub(super) fn open(targets: &Targets) -> io::Result<Self> {
        Ok(Self {
            stdout: targets.stdout.then(Sink::stdout).transpose()?,
            syslog: targets.syslog.as_deref().map(Syslog::new).transpose()?,
            line: Line::new(),
        })
    }

    /// Writes one line to each target.
    pub(super) fn write(&mut self, level: Level, event: &fmt::Arguments<'_>) {
        if let Some(syslog) = &mut self.syslog {
            syslog.write(level, event);
        }
        if let Some(stdout) = &mut self.stdout {
            stdout.write(self.line.build(level, event));
        }
    }

    /// The descriptor that a forked child must keep open, besides standard output.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'static>> {
        self.syslog.as_ref().map(Syslog::descriptor)
    }

    /// In a forked child: prepares both targets for this process.
    pub(super) fn forked(&mut self) {
        if let Some(stdout) = &mut self.stdout {
            stdout.forked();
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.forked();
        }
    }
}

//! The targets of the log: standard output, the syslog daemon, or both.
//!
//! Owns both targets of a process. Used by [`super::logger`].

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::level::Level;
use super::lines::{LINE_MAX, Line};
use super::sink::Sink;
use super::stderr;
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
    /// Lines to standard output that wait for the others of [`Outputs::hold`]; `None` if lines are written at once.
    held: Option<Vec<u8>>,
}

impl Outputs {
    /// Opens `targets`.
    pub(super) fn open(targets: &Targets) -> io::Result<Self> {
        Ok(Self {
            stdout: targets.stdout.then(Sink::stdout).transpose()?,
            syslog: targets.syslog.as_deref().map(Syslog::new).transpose()?,
            line: Line::new(),
            held: None,
        })
    }

    /// Writes one line to each target. A CRITICAL line also goes to standard error if none goes to standard output: the
    /// daemon may be missing, and no process may end without a word.
    pub(super) fn write(&mut self, level: Level, event: &fmt::Arguments<'_>) {
        if let Some(syslog) = &mut self.syslog {
            syslog.write(level, event);
        }
        if self.stdout.is_none() && level != Level::Critical {
            return;
        }
        let line = self.line.build(level, event);
        let Some(stdout) = &mut self.stdout else { return stderr::repeat(line) };
        let Some(held) = &mut self.held else { return stdout.write(line) };
        if held.len() + line.len() > LINE_MAX {
            stdout.write(held);
            held.clear();
        }
        held.extend(line);
    }

    /// From now on, lines to standard output are collected, and written as many at once as fit into [`LINE_MAX`] bytes.
    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Writes the collected lines. From now on, lines are written at once.
    pub(super) fn release(&mut self) {
        if let (Some(held), Some(stdout)) = (self.held.take(), &mut self.stdout)
            && !held.is_empty()
        {
            stdout.write(&held);
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

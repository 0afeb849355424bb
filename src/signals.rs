//! The signals of the three programs: which stop them, and which must not end or stop them.
//!
//! Owns both lists, and the first step of every program. Knows neither what a program does nor how it stops. All other
//! signals keep their default action.

use std::io;

use ipc::signals::{self, Signal};

/// The signals that stop a program in order. A SIGHUP that is ignored at the start stays ignored (nohup).
pub const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The first step of a program, before anything else: from now on, a signal to stop waits for the subscription to
/// [`STOP`], also [in process 1](signals::block#trap-process-1-loses-signals-that-it-does-not-handle). A write beyond the
/// file-size limit fails with EFBIG (SIGXFSZ would kill the process), and a line to a terminal is written from the
/// background, too (SIGTTOU would stop the process).
///
/// # Errors
/// Any error of sigaction(2) or pthread_sigmask(3).
pub fn begin() -> io::Result<()> {
    signals::block(&STOP)?;
    signals::disarm(&[Signal::SIGXFSZ])?;
    signals::ignore(&[Signal::SIGTTOU])
}

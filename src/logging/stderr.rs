//! One line on standard error: errors before the log has started, and the reason for an end that no log line on standard
//! output gives.
//!
//! Used by the three programs, and by [`super::outputs`].

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};

use super::escape::value;

/// How long a line of the log waits for a reader of standard error.
const READER_TIMEOUT: Duration = Duration::from_millis(200);

/// Prints `program: error` as one line on standard error; escapes the error as a log line does.
pub fn complain(program: &str, error: &dyn fmt::Display) {
    // If standard error is closed, the exit code is still there.
    let _ = writeln!(io::stderr(), "{program}: {}", value(error));
}

/// Prints a line of the log on standard error, or drops it if nobody reads standard error: the process may be one that
/// must never wait for long.
pub(super) fn repeat(line: &[u8]) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if matches!(events::wait(&mut ready, Some(Instant::now() + READER_TIMEOUT)), Ok(1..)) {
        let _ = stderr.lock().write_all(line);
    }
}

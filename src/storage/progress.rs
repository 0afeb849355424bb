//! The progress of a long scan, for a person who watches a start on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shorter scans show nothing. Also the time between two updates.
const PAUSE: Duration = Duration::from_millis(200);
/// Moves to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// A line on standard error, if that is a terminal, which disappears when this value is dropped.
#[derive(Debug)]
pub struct Progress {
    /// Bytes of the scan.
    total: u64,
    done: u64,
    /// When to show the next line; `None` without a terminal.
    next: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// The progress of a scan of `total` bytes that begins now.
    pub fn of(total: u64) -> Self {
        let next = io::stderr().is_terminal().then(|| Instant::now() + PAUSE);
        Self { total, done: 0, next, is_shown: false }
    }

    /// Counts `bytes` more bytes, and shows them if it is time.
    pub fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + PAUSE);
        self.is_shown = true;
        let percent = self.done.saturating_mul(100) / self.total.max(1);
        // Nobody needs this line: if the terminal is gone, the scan goes on.
        let _ = write!(io::stderr(), "{CLEAR}reading bets: {percent} %");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}

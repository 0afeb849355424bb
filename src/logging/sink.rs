//! Lines to standard output: never a long wait, and no lost lines while a reader reads.
//!
//! Owns the queue and the count of lost lines. Used by [`super::outputs`].
//!
//! A pipe without a reader would block every process at its next line, and so also the answer to SIGTERM. But dropping
//! a line at the first EAGAIN loses lines in normal service, when a reader is only slower than a burst. So a process
//! that may wait (a child, a client) waits a moment for the reader, and an event loop queues lines. Only after that are
//! lines dropped. Then no line waits until the log is writable again, and one line reports how many were lost. A child
//! that ends before that passes the number to its parent.

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use super::lines::{LINE_MAX, lost_lines};
use super::stdout::Stdout;

/// How long a line waits for a reader in a process that may wait.
const READER_TIMEOUT: Duration = Duration::from_millis(200);
/// Most bytes in the queue of a process that may not wait.
const QUEUE_MAX: usize = 64 * 1024;

/// The queue before standard output.
#[derive(Debug)]
pub struct Sink {
    stdout: Stdout,
    patience: Patience,
    /// Bytes to write first: lines, in a process that may not wait, or the rest of a line that was accepted in part.
    queue: Vec<u8>,
    /// Lines that were lost and not yet reported.
    lost: u32,
}

/// What a process does with a line that standard output does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Waits for a reader.
    Wait,
    /// Drops the line: the parent of this child has lost lines, so waiting is useless until standard output accepts bytes
    /// again. Then the process waits.
    Drop,
    /// Queues the line: the process must never wait.
    Queue,
}

impl Sink {
    /// Prepares standard output. Until [`Sink::queue_instead_of_waiting`], lines wait for a reader.
    ///
    /// # Errors
    /// The error of fstat(2) or fcntl(2).
    pub fn stdout() -> io::Result<Self> {
        Ok(Self { stdout: Stdout::open()?, patience: Patience::Wait, queue: Vec::new(), lost: 0 })
    }

    /// From now on, lines are queued instead of waiting for a reader, and a pipe holds more of them.
    pub fn queue_instead_of_waiting(&mut self) {
        Stdout::enlarge();
        self.patience = Patience::Queue;
    }

    /// In a forked child: forgets the queue, which the parent will write. The child may wait, except if the parent has
    /// already lost lines: otherwise each of a thousand children would wait.
    pub fn forked(&mut self) {
        self.queue = Vec::new();
        self.patience = if self.lost > 0 { Patience::Drop } else { Patience::Wait };
        self.lost = 0;
    }

    /// Writes lines of at most [`LINE_MAX`] bytes together, line feeds included, in one write(2); otherwise queues them, or
    /// counts them as lost.
    pub fn write(&mut self, lines: &[u8]) {
        self.flush();
        if !self.has_room_for(lines) {
            self.lose(count(lines));
            return;
        }
        self.queue.extend(lines);
        self.flush();
        if self.patience == Patience::Wait {
            self.wait_for_reader();
        }
        if self.patience != Patience::Queue && self.queue.len() == lines.len() {
            self.queue.clear();
            self.lose(count(lines));
        }
    }

    /// Whether [`Sink::flush`] has something to write.
    pub fn is_queued(&self) -> bool {
        !self.queue.is_empty() || self.lost > 0
    }

    /// Writes the queue and then the number of lost lines, as far as standard output accepts them now: as many whole lines
    /// in one write(2) as fit into [`LINE_MAX`] bytes.
    pub fn flush(&mut self) {
        let mut written = 0;
        while let Some(len) = whole_lines(&self.queue[written..]) {
            match self.stdout.write(&self.queue[written..written + len]) {
                0 => break,
                accepted => written += accepted,
            }
        }
        self.queue.drain(..written);
        if self.queue.is_empty() && self.lost > 0 {
            written += self.report_lost();
        }
        if self.patience == Patience::Drop && written > 0 {
            self.patience = Patience::Wait;
        }
    }

    /// Adds `lines` to the lost ones.
    pub fn lose(&mut self, lines: u32) {
        self.lost = self.lost.saturating_add(lines);
    }

    /// Returns the number of lost lines that are not reported yet, and forgets it: the caller must report it.
    pub fn take_lost(&mut self) -> u32 {
        self.flush();
        mem::take(&mut self.lost)
    }

    /// The last flush of a process: waits a moment for a reader.
    pub fn finish(&mut self) {
        self.flush();
        self.wait_for_reader();
    }

    /// Writes the line that reports the lost ones. Returns the number of accepted bytes, and queues the rest of them.
    fn report_lost(&mut self) -> usize {
        let report = lost_lines(self.lost);
        let accepted = self.stdout.write(report.as_bytes());
        if accepted > 0 {
            self.lost = 0;
            self.queue.extend(&report.as_bytes()[accepted..]);
        }
        accepted
    }

    fn has_room_for(&self, lines: &[u8]) -> bool {
        match self.patience {
            Patience::Wait | Patience::Drop => !self.is_queued(),
            Patience::Queue => self.queue.len() + lines.len() <= QUEUE_MAX,
        }
    }

    fn wait_for_reader(&mut self) {
        let deadline = Instant::now() + READER_TIMEOUT;
        while self.is_queued() && Instant::now() < deadline && self.stdout.is_writable_by(deadline) {
            self.flush();
        }
    }
}

/// Bytes of the whole lines at the front of `queue` that fit into one write; `None` without a whole line.
fn whole_lines(queue: &[u8]) -> Option<usize> {
    memchr::memrchr(b'\n', &queue[..queue.len().min(LINE_MAX)]).map(|last| last + 1)
}

fn count(lines: &[u8]) -> u32 {
    memchr::memchr_iter(b'\n', lines).count().try_into().unwrap_or(u32::MAX)
}

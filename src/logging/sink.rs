//! Standard output as a log: written without ever waiting long, and without losing lines while somebody reads it.
//!
//! Owns how standard output is opened and what happens when it takes nothing. A pipe that nobody reads would block
//! every process on its next line, the answer to SIGTERM included; yet dropping a line at the first EAGAIN loses lines
//! in normal service, when a reader is merely slower than a burst. So a process that may wait (a child, a client) waits
//! a moment for the reader, and an event loop queues. Only then are lines dropped; nobody waits again until the log can
//! be written, and then one line tells how many were lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use nix::errno::Errno;
use nix::fcntl::{self, FcntlArg, OFlag};
use nix::sys::socket::{self, MsgFlags};
use nix::sys::stat::{self, Mode, SFlag};
use nix::unistd;

/// How long a line waits for a reader in a process that may wait.
const PATIENCE: Duration = Duration::from_millis(200);
/// Most bytes queued in a process that may not.
const QUEUE_MAX: usize = 64 * 1024;
/// What a pipe is asked to hold, to bridge a slow reader; the kernel may refuse.
const PIPE_SIZE: i32 = 1024 * 1024;

/// How standard output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// write(2) on a descriptor of our own that does not block: a pipe or a terminal, opened anew, because O_NONBLOCK
    /// on the inherited one would be set for everybody who shares it.
    Write,
    /// send(2) with MSG_DONTWAIT: a socket (a journal's) cannot be opened anew.
    Send,
    /// poll(2), then write(2): the inherited descriptor, where opening it anew was refused (after a change of user).
    PollThenWrite,
}

/// Standard output.
#[derive(Debug)]
pub struct Sink {
    way: Way,
    may_wait: bool,
    queue: Vec<u8>,
    lost: u64,
    /// A wait was in vain, and no line has got through since.
    stuck: bool,
}

impl Sink {
    /// Prepares standard output by what it is. It waits for readers, until told otherwise.
    ///
    /// # Errors
    /// What fstat(2) or fcntl(2) report.
    pub fn stdout() -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(stat::fstat(stdout())?.st_mode) & SFlag::S_IFMT;
        let way = match kind {
            SFlag::S_IFSOCK => Way::Send,
            SFlag::S_IFREG => {
                // Appending, or lines of several processes overwrite each other; on the inherited description, or
                // those of a shell that writes to the same file do.
                let flags = OFlag::from_bits_retain(fcntl::fcntl(stdout(), FcntlArg::F_GETFL)?);
                fcntl::fcntl(stdout(), FcntlArg::F_SETFL(flags | OFlag::O_APPEND))?;
                Way::Write
            }
            _ => open_anew().map_or(Way::PollThenWrite, |()| Way::Write),
        };
        Ok(Self { way, may_wait: true, queue: Vec::new(), lost: 0, stuck: false })
    }

    /// From now on lines are queued where they would have waited.
    pub fn queue_instead_of_waiting(&mut self) {
        self.may_wait = false;
    }

    /// In a forked child: what is queued is the parent's to write; the child may wait.
    pub fn forked(&mut self) {
        self.queue = Vec::new();
        self.lost = 0;
        self.may_wait = true;
    }

    /// Writes one line, its line feed included, in one write(2); or queues it, or counts it as lost.
    pub fn write(&mut self, line: &[u8]) {
        self.flush();
        if self.queue.is_empty() && self.lost == 0 && self.write_or_wait(line) {
            return;
        }
        if !self.may_wait && self.queue.len() + line.len() <= QUEUE_MAX {
            self.queue.extend(line);
        } else {
            self.lost += 1;
        }
    }

    /// Whether something waits for [`Sink::flush`].
    pub fn is_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes what is queued, and how many lines were lost behind it, as far as it is taken now.
    pub fn flush(&mut self) {
        let mut written = 0;
        while let Some(len) = self.queue[written..].iter().position(|&b| b == b'\n') {
            if self.try_write(&self.queue[written..=written + len]).is_err() {
                break;
            }
            written += len + 1;
        }
        self.queue.drain(..written);
        if self.lost > 0 && self.queue.is_empty() {
            let notice = lost_lines(self.lost);
            if self.try_write(notice.as_bytes()).is_ok() {
                self.lost = 0;
                self.stuck = false;
            }
        }
    }

    /// The last flush of a process: waits for a reader, once.
    pub fn finish(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.flush();
        while self.is_queued() && wait_writable(Some(deadline)) {
            self.flush();
        }
    }

    /// True if the line has been taken, or can never be.
    fn write_or_wait(&mut self, line: &[u8]) -> bool {
        if self.try_write(line).is_ok() {
            self.stuck = false;
            return true;
        }
        if !self.may_wait || self.stuck {
            return false;
        }
        let deadline = Instant::now() + PATIENCE;
        while wait_writable(Some(deadline)) {
            if self.try_write(line).is_ok() {
                return true;
            }
        }
        self.stuck = true;
        false
    }

    /// Fails where the line was not taken and may be later. A reader that is gone (EPIPE), or a full disk, takes
    /// nothing ever: the line is dropped.
    fn try_write(&self, line: &[u8]) -> Result<(), WouldBlock> {
        let mut rest = line;
        while !rest.is_empty() {
            match self.write_once(rest) {
                Ok(len) => rest = &rest[len..],
                Err(Errno::EINTR) => {}
                // Only a terminal takes parts of a line: the rest must follow at once, or lines would mix.
                Err(Errno::EAGAIN) if rest.len() < line.len() => {
                    if !wait_writable(Some(Instant::now() + PATIENCE)) {
                        return Ok(());
                    }
                }
                Err(Errno::EAGAIN) => return Err(WouldBlock),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn write_once(&self, bytes: &[u8]) -> nix::Result<usize> {
        match self.way {
            Way::Write => unistd::write(stdout(), bytes),
            Way::Send => {
                use std::os::fd::AsRawFd;
                socket::send(stdout().as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
            }
            Way::PollThenWrite if wait_writable(Some(Instant::now())) => unistd::write(stdout(), bytes),
            Way::PollThenWrite => Err(Errno::EAGAIN),
        }
    }
}

/// The line was not taken.
struct WouldBlock;

fn stdout() -> BorrowedFd<'static> {
    use std::sync::OnceLock;
    static STDOUT: OnceLock<io::Stdout> = OnceLock::new();
    STDOUT.get_or_init(io::stdout).as_fd()
}

/// Puts an open file description of our own, which does not block, in the place of standard output.
fn open_anew() -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_APPEND | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let own = fcntl::open("/proc/self/fd/1", flags, Mode::empty())?;
    let _ = fcntl::fcntl(&own, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
    unistd::dup2_stdout(own)
}

fn wait_writable(deadline: Option<Instant>) -> bool {
    let mut fds = [PollFd::new(stdout(), PollFlags::POLLOUT)];
    matches!(events::wait(&mut fds, deadline), Ok(1..))
}

fn lost_lines(lost: u64) -> String {
    let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
    format!("{now} {:<8} action: log | result: fail | lost_lines: {lost}\n", "WARNING")
}

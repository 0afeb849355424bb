//! Standard output as a log: written without ever waiting long, and without losing lines while somebody reads it.
//!
//! Owns how standard output is opened and what happens when it takes nothing. A pipe that nobody reads would block
//! every process on its next line, the answer to SIGTERM included; yet dropping a line at the first EAGAIN loses lines
//! in normal service, when a reader is merely slower than a burst. So a process that may wait (a child, a client) waits
//! a moment for the reader, and an event loop queues. Only then are lines dropped; nobody waits again until the log can
//! be written, and then one line tells how many were lost; a child that ends before that leaves its number to its parent.

use std::io;
use std::mem;
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
    /// What goes out before anything else: lines, where nobody may wait; or what is left of one that was taken in part.
    queue: Vec<u8>,
    lost: u32,
    /// To wait would be in vain, as the parent of this child has found out; until something gets through.
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

    /// In a forked child: what is queued is the parent's to write; the child may wait, but not where the parent has lost
    /// lines already, or each of a thousand children would wait anew.
    pub fn forked(&mut self) {
        self.queue = Vec::new();
        self.stuck = self.lost > 0;
        self.lost = 0;
        self.may_wait = true;
    }

    /// Writes one line, its line feed included, in one write(2); or queues it, or counts it as lost.
    pub fn write(&mut self, line: &[u8]) {
        self.flush();
        if !self.has_room_for(line) {
            self.lose(1);
            return;
        }
        self.queue.extend(line);
        self.flush();
        if self.may_wait {
            if !self.stuck {
                self.wait_for_reader();
            }
            if self.queue.len() == line.len() {
                self.queue.clear();
                self.lose(1);
            }
        }
    }

    /// Whether something waits for [`Sink::flush`].
    pub fn is_queued(&self) -> bool {
        !self.queue.is_empty() || self.lost > 0
    }

    /// Writes what is queued, and how many lines were lost behind it, as far as it is taken now.
    pub fn flush(&mut self) {
        let mut written = 0;
        while let Some(len) = self.queue[written..].iter().position(|&b| b == b'\n') {
            let line = &self.queue[written..=written + len];
            match self.write_now(line) {
                0 => break,
                taken => written += taken,
            }
        }
        self.queue.drain(..written);
        if self.lost > 0 && self.queue.is_empty() {
            let notice = lost_lines(self.lost);
            let taken = self.write_now(notice.as_bytes());
            if taken > 0 {
                self.lost = 0;
                self.queue.extend(&notice.as_bytes()[taken..]);
                written += taken;
            }
        }
        self.stuck &= written == 0;
    }

    /// So many lines more are lost.
    pub fn lose(&mut self, lines: u32) {
        self.lost = self.lost.saturating_add(lines);
    }

    /// How many lines are lost that nobody has been told of; that becomes the caller's to tell.
    pub fn take_lost(&mut self) -> u32 {
        self.flush();
        mem::take(&mut self.lost)
    }

    /// The last flush of a process: waits for a reader, once.
    pub fn finish(&mut self) {
        self.flush();
        self.wait_for_reader();
    }

    fn has_room_for(&self, line: &[u8]) -> bool {
        if self.may_wait { !self.is_queued() } else { self.queue.len() + line.len() <= QUEUE_MAX }
    }

    fn wait_for_reader(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.is_queued() && Instant::now() < deadline && wait_writable(Some(deadline)) {
            self.flush();
        }
    }

    /// How many bytes of `line` are done with: none where nothing is taken now; part of them where a terminal or a
    /// stream socket took as much; all where they were taken, or never will be, as by a reader that is gone (EPIPE) or
    /// a full disk.
    fn write_now(&self, line: &[u8]) -> usize {
        loop {
            match self.write_once(line) {
                Ok(taken) => return taken,
                Err(Errno::EAGAIN) => return 0,
                Err(Errno::EINTR) => {}
                Err(_) => return line.len(),
            }
        }
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

fn lost_lines(lost: u32) -> String {
    let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
    format!("{now} {:<8} action: log | result: fail | lost_lines: {lost}\n", "WARNING")
}

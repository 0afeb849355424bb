//! Standard output, written without blocking.
//!
//! Owns how standard output is opened and written. Used by [`super::sink`]. Knows no lines and no queue.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::Instant;

use ipc::events::{self, PollFd, PollFlags};
use nix::errno::Errno;
use nix::fcntl::{self, FcntlArg, OFlag};
use nix::sys::socket::{self, MsgFlags};
use nix::sys::stat::{self, Mode, SFlag};
use nix::unistd;

/// The capacity that is requested for a pipe, to bridge a slow reader. The kernel may refuse it.
const PIPE_SIZE: i32 = 1024 * 1024;

/// Standard output, with the way to write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdout {
    /// write(2). A file never blocks. A pipe or a terminal was reopened with O_NONBLOCK; on the inherited open file
    /// description that flag would affect all processes that share it.
    Write,
    /// send(2) with MSG_DONTWAIT: a socket (of a journal) cannot be reopened.
    Send,
    /// poll(2), then write(2): the inherited descriptor, because reopening it was refused (after a change of user).
    PollThenWrite,
}

impl Stdout {
    /// Prepares standard output for its kind: file, pipe, terminal or socket.
    ///
    /// # Errors
    /// The error of fstat(2) or fcntl(2).
    pub(super) fn open() -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(stat::fstat(descriptor())?.st_mode) & SFlag::S_IFMT;
        Ok(match kind {
            SFlag::S_IFSOCK => Self::Send,
            SFlag::S_IFREG => {
                append_always()?;
                Self::Write
            }
            _ => reopen().map_or(Self::PollThenWrite, |()| Self::Write),
        })
    }

    /// Writes as much of `line` as is accepted now. Returns how many of its bytes need no further attempt: 0 if none
    /// were accepted; some of them if a terminal or a stream socket accepted a part; all of them if they were accepted,
    /// or never will be, because the reader is gone (EPIPE) or the disk is full.
    pub(super) fn write(self, line: &[u8]) -> usize {
        loop {
            match self.write_once(line) {
                Ok(accepted) => return accepted,
                Err(Errno::EAGAIN) => return 0,
                Err(Errno::EINTR) => {}
                Err(_) => return line.len(),
            }
        }
    }

    /// Whether standard output accepts bytes by `deadline`; waits for it.
    pub(super) fn is_writable_by(self, deadline: Instant) -> bool {
        let mut fds = [PollFd::new(descriptor(), PollFlags::POLLOUT)];
        matches!(events::wait(&mut fds, Some(deadline)), Ok(1..))
    }

    /// Asks for a pipe of [`PIPE_SIZE`]. All pipes of a user share one quota, and a pipe that is made after it is used up
    /// holds one page. So only a process that may not wait asks: the server, not its many clients.
    pub(super) fn enlarge() {
        let _ = fcntl::fcntl(descriptor(), FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
    }

    fn write_once(self, bytes: &[u8]) -> nix::Result<usize> {
        match self {
            Self::Write => unistd::write(descriptor(), bytes),
            Self::Send => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                socket::send(descriptor().as_raw_fd(), bytes, flags)
            }
            Self::PollThenWrite if self.is_writable_by(Instant::now()) => unistd::write(descriptor(), bytes),
            Self::PollThenWrite => Err(Errno::EAGAIN),
        }
    }
}

fn descriptor() -> BorrowedFd<'static> {
    static STDOUT: OnceLock<io::Stdout> = OnceLock::new();
    STDOUT.get_or_init(io::stdout).as_fd()
}

/// Sets O_APPEND on the inherited open file description of a regular file. Otherwise lines of several processes
/// overwrite each other, and lines of a shell that writes to the same file are overwritten.
fn append_always() -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl::fcntl(descriptor(), FcntlArg::F_GETFL)?);
    fcntl::fcntl(descriptor(), FcntlArg::F_SETFL(flags | OFlag::O_APPEND)).map(drop)
}

/// Replaces standard output by an open file description of this process only, which does not block.
fn reopen() -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_APPEND | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let own = fcntl::open("/proc/self/fd/1", flags, Mode::empty())?;
    unistd::dup2_stdout(own)
}

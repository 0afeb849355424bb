//! Reads a settings file: at most a megabyte, and a request to stop ends the wait for its bytes.
//!
//! Owns how the file is opened and read. Used by the settings of both programs. Knows no format.
//!
//! The file may be a FIFO, a pipe of the shell or a terminal, and any of them may stay silent for ever. So it is opened
//! without blocking, and polled together with the request to stop.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ipc::events::{self, PollFd, PollFlags};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat;

use super::error::Error;

/// Most bytes of a settings file: far more than anybody writes, and parsed in about a second.
const BYTES_MAX: usize = 1_000_000;
/// Bytes of one read(2).
const READ_LEN: usize = 64 * 1024;

/// The text of the file at `path`. `stop` is readable after a request to stop.
///
/// # Errors
/// [`Error::Stopped`] if a stop was requested before the end of a file that is not a regular one; [`Error::Form`] if the
/// file is too large; [`Error::Unreadable`] if it cannot be read or is not UTF-8.
pub(super) fn read(path: &Path, stop: Option<BorrowedFd<'_>>) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut file = open(path, stop).map_err(unreadable)?;
    let is_regular = file.metadata().map_err(unreadable)?.is_file();
    let mut bytes = Vec::new();
    loop {
        if !is_regular && wait(&file, stop).map_err(unreadable)? == Ready::Stop {
            return Err(Error::Stopped);
        }
        if read_once(&mut file, &mut bytes).map_err(unreadable)? == Progress::End {
            break;
        }
        if bytes.len() > BYTES_MAX {
            let defect = format!("larger than {BYTES_MAX} bytes, the most for a settings file");
            return Err(Error::Form { path: path.to_owned(), defect });
        }
    }
    String::from_utf8(bytes).map_err(|e| unreadable(io::Error::new(ErrorKind::InvalidData, e.utf8_error())))
}

/// Opens `path` for reading, and does not wait for the writer of a FIFO.
fn open(path: &Path, stop: Option<BorrowedFd<'_>>) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if let Some(stop) = stop
        && is_same(&file, stop)?
    {
        // A name such as /dev/fd/3, for a descriptor that the program was not given.
        return Err(Errno::ENOENT.into());
    }
    Ok(file)
}

fn is_same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (stat::fstat(one)?, stat::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[derive(Debug, PartialEq, Eq)]
enum Ready {
    File,
    Stop,
}

/// Waits for the file or the request to stop. If both are ready, the stop counts.
fn wait(file: &File, stop: Option<BorrowedFd<'_>>) -> io::Result<Ready> {
    let fds = [stop, Some(file.as_fd())].into_iter().flatten();
    let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    events::wait(&mut fds, None)?;
    let stopped = stop.is_some() && fds[0].any().unwrap_or(false);
    Ok(if stopped { Ready::Stop } else { Ready::File })
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Continues,
    End,
}

/// Reads once, and appends to `bytes`.
fn read_once(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<Progress> {
    let mut buffer = [0; READ_LEN];
    match file.read(&mut buffer) {
        Ok(0) => return Ok(Progress::End),
        Ok(len) => bytes.extend(&buffer[..len]),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(e) => return Err(e),
    }
    Ok(Progress::Continues)
}

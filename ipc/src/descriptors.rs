//! The descriptors of a process: which ones it was started with, which ones a child keeps, and where the rest is parked.
//!
//! Owns the closing of descriptors by their numbers. Programs use [`Inherited`] and [`park`]; [`crate::process`] and
//! [`crate::nursery`] close what a child must not keep.
//!
//! Invariant: this module closes no descriptor that has an owner in this process, except in a new child, which never runs
//! the destructors of the owners that it inherited.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{self, FcntlArg};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd;

/// Number of the first descriptor after standard input, output and error, which stay open in every process.
const FIRST_AFTER_STANDARD_STREAMS: RawFd = 3;

/// Lowest number of a [parked](park) descriptor. A multiple of 64: the kernel copies a table in words of 64 descriptors.
pub const FIRST_PARKED: RawFd = 128;

/// The descriptors, besides the standard streams, with which this process was started: a shell or a build tool may have
/// left them open.
#[derive(Debug)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// Lists them. A program calls this first, before it opens any descriptor, and in its only thread.
    ///
    /// # Errors
    /// Any error of reading the directory `/proc/self/fd`, except that it does not exist. Without `/proc` the list is empty.
    pub fn list() -> io::Result<Self> {
        // The list contains the descriptor of the directory itself. It is closed already, and its number is used again.
        let is_open = |fd: &RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
        let listed = open_descriptors()?.into_iter().filter(|&fd| fd >= FIRST_AFTER_STANDARD_STREAMS);
        Ok(Self(listed.filter(is_open).collect()))
    }

    /// Closes them. Until then, the program can use a descriptor that it was given by its number, as `/dev/fd/3`.
    pub fn close(self) {
        for fd in self.0 {
            // A failure changes nothing: the descriptor is closed anyway.
            let _ = unistd::close(fd);
        }
    }
}

/// Moves a descriptor to a number from [`FIRST_PARKED`] on, so that the low numbers stay free for the descriptors that
/// children inherit ([`crate::nursery`]). If the limit of descriptors leaves no such number, the descriptor stays where it
/// is, and each new child copies and closes it.
#[must_use]
pub fn park(fd: OwnedFd) -> OwnedFd {
    match fcntl::fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_PARKED)) {
        // SAFETY: the kernel has just made this descriptor, so nothing else owns it.
        Ok(number) => unsafe { OwnedFd::from_raw_fd(number) },
        Err(_) => fd,
    }
}

/// Closes all descriptors except the standard streams and `kept`. For a new child: it never uses the owners of the closed
/// descriptors again.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    match close_between(kept) {
        Err(Errno::ENOSYS | Errno::EPERM) => close_listed(kept),
        closed => Ok(closed?),
    }
}

/// Closes the ranges between the kept descriptors. Fails with ENOSYS on kernels before 5.9, and with EPERM under some
/// filters of system calls.
fn close_between(kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut kept: Vec<_> =
        kept.iter().map(AsRawFd::as_raw_fd).filter(|&fd| fd >= FIRST_AFTER_STANDARD_STREAMS).collect();
    kept.sort_unstable();
    let mut first = FIRST_AFTER_STANDARD_STREAMS;
    for fd in kept {
        if first < fd {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, RawFd::MAX, 0)
}

fn close_listed(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    for fd in open_descriptors()? {
        if fd >= FIRST_AFTER_STANDARD_STREAMS && kept.iter().all(|kept| kept.as_raw_fd() != fd) {
            // The list contains the descriptor of the directory itself, which is closed already: EBADF.
            let _ = unistd::close(fd);
        }
    }
    Ok(())
}

/// close_range(2) of the numbers from `first` to `last`. The caller has no owner of such a descriptor left.
pub(crate) fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> nix::Result<()> {
    // SAFETY: the call touches no memory. That no owner is left is the duty of the callers, which are all in this crate.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    Errno::result(closed).map(drop)
}

/// The open descriptors; without `/proc`, every number that a descriptor may have.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name.to_str().and_then(|name| name.parse().ok()).expect("/proc/self/fd lists only numbers")
    };
    match fs::read_dir("/proc/self/fd") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // The kernel allows no more by default (fs.nr_open), whatever the limit is.
            const MOST: RawFd = 1 << 20;
            let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
            Ok((0..RawFd::try_from(limit).map_or(MOST, |limit| limit.min(MOST))).collect())
        }
        entries => entries?.map(|entry| entry.map(number)).collect(),
    }
}

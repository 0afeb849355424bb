//! The faults of each system call that server and client make, in one table.
//!
//! Owns the calls, their errors, and how calls with the same name are distinguished. Used by the tracer, which sees the
//! calls, and by the sweep, which makes the list of faults. A call that is in neither table is an error of the sweep.
//! Every call can be the last one of its process. The errors are those of its man page that can happen to these
//! programs, one of each kind that they could distinguish.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno::{self, *};
use nix::libc::{self, c_long};

use super::tracer::{Fault, Role};

/// The target or purpose of a call, if its errors depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum On {
    /// It does not matter.
    Any,
    /// A file, other than the log.
    File,
    /// A file that the call may make.
    NewFile,
    /// A directory of /proc.
    Directory,
    /// Standard output or error.
    Log,
    /// A connection.
    Stream,
    /// The link between parent and child: packets, which are sent whole.
    Link,
    /// A pipe of the process's own.
    Pipe,
    /// A release, which the kernel does not refuse.
    Release,
    /// A duplicate of a descriptor.
    Duplicate,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nothing has been done.
    Undone,
    /// It is done in spite of the error, as close(2) documents.
    Done,
    /// Undone; or half of the bytes are done, without an error.
    Short,
    /// The same; or half of the bytes are done, and the process is killed.
    Torn,
}

struct Row(c_long, &'static str, On, &'static [Errno], How);

/// Calls with errors. The first row that fits counts. A call whose rows do not fit is only killed.
const FAILING: &[Row] = &[
    // No descriptor, no inode, a removed directory, or a disk that cannot be read.
    Row(libc::SYS_openat, "openat", On::NewFile, &[EMFILE, ENOSPC, EACCES, EINTR], How::Undone),
    Row(libc::SYS_openat, "openat", On::Directory, &[EMFILE, ENOMEM], How::Undone),
    Row(libc::SYS_openat, "openat", On::Any, &[EMFILE, EIO, EINTR], How::Undone),
    Row(libc::SYS_newfstatat, "newfstatat", On::Any, &[EIO], How::Undone),
    Row(libc::SYS_statx, "statx", On::Any, &[EIO], How::Undone),
    Row(libc::SYS_getdents64, "getdents64", On::Any, &[ENOMEM], How::Undone),
    Row(libc::SYS_rename, "rename", On::Any, &[EIO, EACCES, ENOSPC], How::Undone),
    Row(libc::SYS_link, "link", On::Any, &[EPERM, EXDEV, EIO, ENOSPC], How::Undone),
    Row(libc::SYS_linkat, "linkat", On::Any, &[EPERM, EXDEV, EIO, ENOSPC], How::Undone),
    Row(libc::SYS_fchmod, "fchmod", On::Any, &[EPERM, EIO], How::Undone),
    Row(libc::SYS_unlink, "unlink", On::Any, &[EIO, EACCES], How::Undone),
    Row(libc::SYS_close, "close", On::File, &[EIO], How::Done),
    // Bytes of files. A bad sector, a full disk, a quota or a limit, which have the same effect.
    Row(libc::SYS_read, "read", On::File, &[EIO, EINTR], How::Short),
    Row(libc::SYS_read, "read", On::Pipe, &[EINTR], How::Undone),
    Row(libc::SYS_pread64, "pread64", On::Any, &[EIO, EINTR], How::Short),
    Row(libc::SYS_write, "write", On::File, &[ENOSPC, EIO, EFBIG, EINTR], How::Torn),
    Row(libc::SYS_write, "write", On::Log, &[ENOSPC, EPIPE, EINTR, EAGAIN], How::Short),
    Row(libc::SYS_pwrite64, "pwrite64", On::Any, &[ENOSPC, EIO, EINTR], How::Torn),
    Row(libc::SYS_copy_file_range, "copy_file_range", On::Any, &[EIO, ENOSPC], How::Undone),
    Row(libc::SYS_splice, "splice", On::Any, &[EIO, ENOSPC], How::Undone),
    Row(libc::SYS_sendfile, "sendfile", On::Any, &[EIO, ENOSPC], How::Undone),
    Row(libc::SYS_ftruncate, "ftruncate", On::Any, &[EIO, EINTR], How::Undone),
    Row(libc::SYS_fdatasync, "fdatasync", On::Any, &[EIO, ENOSPC, EINTR], How::Undone),
    Row(libc::SYS_fsync, "fsync", On::Any, &[EIO, ENOSPC, EINTR], How::Undone),
    // Only an advice.
    Row(libc::SYS_fadvise64, "fadvise64", On::Any, &[EINVAL], How::Undone),
    // EAGAIN is EWOULDBLOCK: another process has the lock.
    Row(libc::SYS_flock, "flock", On::Release, &[EINTR], How::Undone),
    Row(libc::SYS_flock, "flock", On::Any, &[EINTR, EAGAIN, ENOLCK], How::Undone),
    // Descriptors and memory of the kernel.
    Row(libc::SYS_fcntl, "fcntl", On::Duplicate, &[EMFILE], How::Undone),
    // A kernel before 5.9, a filter of the container, no memory for a table.
    Row(libc::SYS_close_range, "close_range", On::Any, &[ENOSYS, EPERM, ENOMEM], How::Undone),
    Row(libc::SYS_pipe2, "pipe2", On::Any, &[EMFILE], How::Undone),
    Row(libc::SYS_socketpair, "socketpair", On::Any, &[EMFILE, ENOMEM], How::Undone),
    Row(libc::SYS_epoll_create1, "epoll_create1", On::Any, &[EMFILE], How::Undone),
    Row(libc::SYS_epoll_ctl, "epoll_ctl", On::Any, &[ENOMEM, ENOSPC], How::Undone),
    Row(libc::SYS_prlimit64, "prlimit64", On::Any, &[EPERM], How::Undone),
    // Sockets. Out of memory or ports, a firewall, a peer that is gone.
    Row(libc::SYS_socket, "socket", On::Any, &[EMFILE, ENOBUFS], How::Undone),
    Row(libc::SYS_setsockopt, "setsockopt", On::Any, &[ENOMEM], How::Undone),
    Row(libc::SYS_bind, "bind", On::Any, &[EADDRINUSE, EACCES], How::Undone),
    Row(libc::SYS_listen, "listen", On::Any, &[EADDRINUSE], How::Undone),
    Row(libc::SYS_getsockname, "getsockname", On::Any, &[ENOBUFS], How::Undone),
    // A non-blocking connect is not interrupted: the kernel checks for signals only when it waits.
    Row(libc::SYS_connect, "connect", On::Any, &[ECONNREFUSED, ETIMEDOUT, EADDRNOTAVAIL, ENETUNREACH], How::Undone),
    Row(libc::SYS_shutdown, "shutdown", On::Any, &[ENOTCONN], How::Undone),
    Row(
        libc::SYS_accept4,
        "accept4",
        On::Any,
        &[ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, EPERM, EINTR, EAGAIN],
        How::Undone,
    ),
    Row(libc::SYS_recvfrom, "recvfrom", On::Stream, &[ECONNRESET, ETIMEDOUT, EINTR, EAGAIN], How::Short),
    Row(libc::SYS_sendto, "sendto", On::Stream, &[ECONNRESET, EPIPE, ENOMEM, EINTR, EAGAIN], How::Torn),
    Row(libc::SYS_recvfrom, "recvfrom", On::Link, &[ECONNRESET, EINTR, EAGAIN], How::Undone),
    // Full, or the other end is closed: by a child that has died.
    Row(libc::SYS_sendto, "sendto", On::Link, &[EAGAIN, ENOBUFS, EPIPE, ECONNRESET, EINTR], How::Undone),
    // Waiting.
    Row(libc::SYS_poll, "poll", On::Any, &[EINTR, ENOMEM], How::Undone),
    Row(libc::SYS_ppoll, "ppoll", On::Any, &[EINTR, ENOMEM], How::Undone),
    Row(libc::SYS_epoll_wait, "epoll_wait", On::Any, &[EINTR], How::Undone),
    Row(libc::SYS_epoll_pwait, "epoll_pwait", On::Any, &[EINTR], How::Undone),
    Row(libc::SYS_clock_nanosleep, "clock_nanosleep", On::Any, &[EINTR], How::Undone),
    // Memory of a process: a thread's stack.
    Row(libc::SYS_mmap, "mmap", On::Any, &[ENOMEM], How::Undone),
    Row(libc::SYS_mprotect, "mprotect", On::Any, &[ENOMEM], How::Undone),
    Row(libc::SYS_mremap, "mremap", On::Any, &[ENOMEM], How::Undone),
    // Processes. A limit of the user or the container, no memory, a seccomp filter of the container.
    Row(libc::SYS_clone, "clone", On::Any, &[EAGAIN, ENOMEM], How::Undone),
    Row(libc::SYS_clone3, "clone3", On::Any, &[EAGAIN], How::Undone),
    Row(libc::SYS_waitid, "waitid", On::Any, &[EINTR], How::Undone),
    Row(libc::SYS_prctl, "prctl", On::Any, &[EPERM], How::Undone),
    Row(libc::SYS_seccomp, "seccomp", On::Any, &[EINVAL, ENOMEM], How::Undone),
    Row(
        libc::SYS_landlock_create_ruleset,
        "landlock_create_ruleset",
        On::Any,
        &[EMFILE, ENOMEM, EOPNOTSUPP],
        How::Undone,
    ),
    Row(libc::SYS_landlock_restrict_self, "landlock_restrict_self", On::Any, &[E2BIG], How::Undone),
    Row(libc::SYS_kill, "kill", On::Any, &[EPERM], How::Undone),
];

/// Calls that are only killed. They fail only for wrong arguments, or they are made by the allocator, the loader or the
/// standard library, which stop or ignore the error.
const KILLED: &[(c_long, &str)] = &[
    (libc::SYS_lseek, "lseek"),
    (libc::SYS_getsockopt, "getsockopt"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_access, "access"),
    (libc::SYS_readlink, "readlink"),
    (libc::SYS_uname, "uname"),
    (libc::SYS_getpid, "getpid"),
    (libc::SYS_getppid, "getppid"),
    (libc::SYS_gettid, "gettid"),
    (libc::SYS_getrandom, "getrandom"),
    (libc::SYS_clock_gettime, "clock_gettime"),
    (libc::SYS_sched_yield, "sched_yield"),
    (libc::SYS_sched_getaffinity, "sched_getaffinity"),
    (libc::SYS_rt_sigaction, "rt_sigaction"),
    (libc::SYS_rt_sigprocmask, "rt_sigprocmask"),
    (libc::SYS_rt_sigreturn, "rt_sigreturn"),
    (libc::SYS_sigaltstack, "sigaltstack"),
    (libc::SYS_restart_syscall, "restart_syscall"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_munmap, "munmap"),
    // A failed brk(2) returns no error, but the old end of the heap.
    (libc::SYS_brk, "brk"),
    (libc::SYS_madvise, "madvise"),
    (libc::SYS_set_robust_list, "set_robust_list"),
    (libc::SYS_rseq, "rseq"),
    (libc::SYS_exit, "exit"),
    (libc::SYS_exit_group, "exit_group"),
];

/// The call's name; `None` if no table has it.
pub fn name(call: c_long) -> Option<&'static str> {
    let failing = FAILING.iter().map(|row| (row.0, row.1));
    failing.chain(KILLED.iter().copied()).find(|&(number, _)| number == call).map(|(_, name)| name)
}

/// Everything that can happen to a call of `role`.
pub fn faults(role: Role, call: c_long, on: On) -> Vec<Fault> {
    let mut faults = vec![Fault::Kill];
    let row = FAILING.iter().find(|row| row.0 == call && [on, On::Any].contains(&row.2));
    // After an error, glibc's resolver would ask servers on other machines.
    if let Some(Row(.., errors, how)) = row.filter(|_| role != Role::Resolver) {
        faults.extend(errors.iter().copied().map(Fault::Error));
        faults.extend(matches!(how, How::Short | How::Torn).then_some(Fault::Short));
        faults.extend((*how == How::Torn).then_some(Fault::Torn));
    }
    faults
}

/// Whether a call is done even if it fails.
pub fn is_done_all_the_same(call: c_long) -> bool {
    FAILING.iter().any(|row| row.0 == call && row.4 == How::Done)
}

/// The target of a call of process `pid` with these arguments.
pub fn on(pid: i32, call: c_long, args: [u64; 4]) -> On {
    let has = |arg: usize, bits: i32| args[arg] & u64::from(bits.unsigned_abs()) != 0;
    match call {
        libc::SYS_openat if has(2, libc::O_CREAT) => On::NewFile,
        libc::SYS_openat if has(2, libc::O_DIRECTORY) => On::Directory,
        libc::SYS_flock if has(1, libc::LOCK_UN) => On::Release,
        libc::SYS_epoll_ctl if args[1] == libc::EPOLL_CTL_DEL as u64 => On::Release,
        libc::SYS_fcntl if args[1] == libc::F_DUPFD_CLOEXEC as u64 => On::Duplicate,
        libc::SYS_recvfrom | libc::SYS_sendto => match opened(pid, args[0]) {
            Some(target) if target.starts_with("pipe:") => On::Pipe,
            // Connections are non-blocking already, and have no such flag at each call.
            _ if has(3, libc::MSG_DONTWAIT) => On::Link,
            _ => On::Stream,
        },
        libc::SYS_read | libc::SYS_write | libc::SYS_close => match opened(pid, args[0]) {
            _ if matches!(args[0], 1 | 2) => On::Log,
            // The kernel creates the content of /proc files at each read.
            Some(target) if target.starts_with("/") && !(call == libc::SYS_close && target.starts_with("/proc/")) => {
                On::File
            }
            _ => On::Pipe,
        },
        _ => On::Any,
    }
}

/// The target of the descriptor's link in /proc.
fn opened(pid: i32, fd: u64) -> Option<String> {
    let target: PathBuf = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    Some(target.to_string_lossy().into_owned())
}

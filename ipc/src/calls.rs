//! Which system calls a server's parent and its children may make.
//!
//! Owns the lists. Used by [`crate::sandbox`]. A call that is in no list returns ENOSYS, as on a kernel that does not
//! have it: libraries then use another one, and the parent does not die because a new version of glibc tries a new call.

use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{self, c_long};

use crate::filter::Check::{AtLeast, Has, Is, IsNot, Lacks};
use crate::filter::{ALLOW, FORBIDDEN, Filter, KILL, NOT_IMPLEMENTED};

/// The open files to which a process may write.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// Open for appending: the process may append to it.
    pub appended: BorrowedFd<'a>,
    /// The process may cut `appended`, but no byte before this offset.
    pub kept: u64,
    /// The process may write anywhere in these, until [`Sandbox::narrow`](crate::sandbox::Sandbox::narrow); it cannot cut them.
    pub written: [BorrowedFd<'a>; 2],
    /// The process may take and release the lock of this file only: others belong to the whole program.
    pub locked: BorrowedFd<'a>,
}

/// Calls that the parent, its children and the libraries of both make.
const NEEDED: &[c_long] = &[
    // Bytes.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    // Files.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fadvise64,
    libc::SYS_ftruncate,
    // Connections.
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_socketpair,
    libc::SYS_pipe2,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_restart_syscall,
    // Processes and signals.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_waitid,
    libc::SYS_wait4,
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Memory, time and limits.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_prlimit64,
    libc::SYS_sched_getaffinity,
    libc::SYS_uname,
    // The sandbox of a child.
    libc::SYS_prctl,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
];

/// Older forms of these, which only some architectures have.
#[cfg(target_arch = "x86_64")]
const NEEDED_OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const NEEDED_OLDER: &[c_long] = &[];

/// Calls that neither parent nor child makes, whatever library they use.
const HOSTILE: &[c_long] =
    &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev];

/// Calls that a child does not make after it has opened its files.
const OF_PARENT: &[c_long] = &[
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_socketpair,
    libc::SYS_pipe2,
    libc::SYS_setsockopt,
    libc::SYS_ioctl,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_prlimit64,
];

/// Ways to open a file. A library may try them, for example to read the time zone again, so they do not kill.
#[cfg(target_arch = "x86_64")]
const OPENING: &[c_long] = &[libc::SYS_open, libc::SYS_openat];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[c_long] = &[libc::SYS_openat];

/// The first filter, of the parent and all its children.
pub fn of_parent() -> Filter {
    let [filter_mode, executable, anonymous] =
        [libc::SECCOMP_SET_MODE_FILTER, libc::PROT_EXEC as u32, libc::MAP_ANONYMOUS as u32];
    Filter::of_this_architecture()
        .each(NEEDED, ALLOW)
        .each(NEEDED_OLDER, ALLOW)
        .each(HOSTILE, KILL)
        .only_if(libc::SYS_mmap, &[Lacks(2, executable), Has(3, anonymous)], NOT_IMPLEMENTED)
        .only_if(libc::SYS_mprotect, &[Lacks(2, executable)], NOT_IMPLEMENTED)
        .only_if(libc::SYS_seccomp, &[Is(0, &[filter_mode]), Is(1, &[0])], NOT_IMPLEMENTED)
        .others(NOT_IMPLEMENTED)
}

/// The filter of a child with its files open. It needs no rule for what the first filter refuses.
pub fn of_child(files: Option<Files<'_>>) -> Filter {
    let filter = Filter::further()
        .each(OF_PARENT, KILL)
        .each(OPENING, FORBIDDEN)
        .only_if(libc::SYS_fcntl, &[Is(1, &[libc::F_GETFD as u32, libc::F_GETFL as u32])], KILL)
        // For the filters that may follow.
        .only_if(libc::SYS_prctl, &[Is(0, &[libc::PR_SET_NO_NEW_PRIVS as u32])], KILL);
    match files {
        None => filter.each(&[libc::SYS_pwrite64, libc::SYS_ftruncate, libc::SYS_flock], KILL),
        Some(Files { appended, kept, written, locked }) => {
            let (appended, written) = (raw(appended), written.map(raw));
            filter
                .only_if(libc::SYS_write, &[IsNot(0, &written)], KILL)
                .only_if(libc::SYS_pwrite64, &[Is(0, &written)], KILL)
                .only_if(libc::SYS_flock, &[Is(0, &[raw(locked)])], KILL)
                .only_if(libc::SYS_ftruncate, &[Is(0, &[appended]), AtLeast(1, kept)], KILL)
        }
    }
    .others(ALLOW)
}

/// The last filter of a child.
pub fn of_writer(places: &[(BorrowedFd<'_>, Range<u32>)]) -> Filter {
    let places: Vec<_> = places.iter().map(|(file, place)| (raw(*file), place.clone())).collect();
    Filter::further()
        .each(&[libc::SYS_seccomp, libc::SYS_prctl], KILL)
        .only_inside(libc::SYS_pwrite64, &places, KILL)
        .others(ALLOW)
}

fn raw(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().unsigned_abs()
}

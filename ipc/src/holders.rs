//! The process that holds a lock of [`lock`](crate::lock), as the kernel lists it in `/proc/locks`.
//!
//! Owns the reading of that file. The parent of a server uses it to name a process that holds a lock for too long, also
//! when that process is stopped.
//!
//! Invariants:
//!
//! - This module never takes or releases a lock, and sends no signal.
//! - [`holder`] never blocks, and reads at most 1 MiB.
//!
//! # Trap: the list of locks is incomplete
//!
//! A line of `/proc/locks` is `1: FLOCK  ADVISORY  WRITE 1450 fe:00:753898 0 EOF`: number, kind of lock, mode, pid, file.
//!
//! - The list can be absent (procfs mounted with `subset=pid`, or no `/proc`), unreadable or empty (some containers). An
//!   absent line is therefore no proof that the lock is free. To find that out, try the lock.
//! - The list has no line for a holder outside of the pid namespace of this `/proc`. Old kernels show pid 0 for it, and
//!   a lock of another machine has a negative number. None of these numbers may reach kill(2), where 0 and negative
//!   numbers mean groups of processes.
//! - A lock that a child inherited is listed with the pid of the process that took it. That process may be dead, and its
//!   pid may have been given to another process.
//! - A line with `->` before the kind is a process that waits.
//! - The file is `major:minor:inode`. The first two numbers are hexadecimal, the inode is decimal.
//! - On btrfs and overlayfs, stat(2) reports another device than the list. So the inode is compared first, and the
//!   device only if several lines have this inode.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;

use nix::sys::stat::{major, minor};
use nix::unistd::Pid;

/// The kernel's list of all file locks.
const LIST: &str = "/proc/locks";
/// Most bytes of the list that are read: about 20,000 locks.
const LIST_MAX: u64 = 1 << 20;
/// How often the list is read until it names the holder. The kernel returns it page by page, and skips a lock if another
/// one is released between two pages.
const READS: usize = 3;

/// A lock of flock(2), as one line of the list shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// Not positive if the holder has no pid here.
    pid: i32,
    /// Major and minor number.
    device: (u64, u64),
    inode: u64,
}

/// Returns the pid of the process that holds a lock of flock(2) on `file`. Returns `None` if the list names no such
/// process. The lock can be held even then ([the trap](self#trap-the-list-of-locks-is-incomplete)). If several processes
/// hold shared locks, returns one of them.
///
/// # Errors
/// Any error of fstat(2), and any error of opening or reading `/proc/locks` except ENOENT and EACCES.
pub fn holder(file: &File) -> io::Result<Option<Pid>> {
    let found = file.metadata()?;
    let device = (major(found.dev()), minor(found.dev()));
    for _ in 0..READS {
        let mut list = Vec::new();
        match File::open(LIST) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ok(None),
            opened => opened?.take(LIST_MAX).read_to_end(&mut list)?,
        };
        if let Some(pid) = find(&String::from_utf8_lossy(&list), device, found.ino()) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn find(list: &str, device: (u64, u64), inode: u64) -> Option<Pid> {
    // The last line may be cut off at LIST_MAX.
    let whole = list.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let of_inode: Vec<_> = whole.filter_map(parse).filter(|held| held.inode == inode).collect();
    let held = match of_inode[..] {
        [only] => only,
        _ => of_inode.into_iter().find(|held| held.device == device)?,
    };
    (held.pid > 0).then(|| Pid::from_raw(held.pid))
}

/// The lock of one line; `None` for a lock of another kind and for a waiter.
fn parse(line: &str) -> Option<Held> {
    let mut fields = line.split_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    let mut file = fields.next()?.splitn(3, ':');
    let [major, minor] = [file.next()?, file.next()?].map(|number| u64::from_str_radix(number, 16));
    Some(Held { pid, device: (major.ok()?, minor.ok()?), inode: file.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: (u64, u64) = (0xfe, 0x10);
    const LIST: &str = "\
1: FLOCK  ADVISORY  WRITE 1450 fe:10:753898 0 EOF
2: OFDLCK ADVISORY  READ -1 00:06:3 0 EOF
3: POSIX  ADVISORY  WRITE 1435 fe:10:40 0 EOF
4: FLOCK  ADVISORY  WRITE 1500 fe:10:41 0 EOF
4: -> FLOCK  ADVISORY  WRITE 1501 fe:10:41 0 EOF
4:  -> FLOCK  ADVISORY  WRITE 1502 fe:10:41 0 EOF
5: FLOCK  ADVISORY  READ  1600 fe:10:42 0 EOF
6: LEASE  ACTIVE    READ  1700 fe:10:43 0 EOF
";

    fn pid_of(list: &str, inode: u64) -> Option<i32> {
        find(list, DEVICE, inode).map(Pid::as_raw)
    }

    #[test]
    fn holder_of_a_flock_is_found_by_inode() {
        assert_eq!([753_898, 41, 42].map(|inode| pid_of(LIST, inode)), [Some(1450), Some(1500), Some(1600)]);
    }

    #[test]
    fn other_kinds_of_locks_have_no_holder() {
        assert_eq!([3, 40, 43, 44].map(|inode| pid_of(LIST, inode)), [None; 4]);
    }

    #[test]
    fn waiters_are_not_holders() {
        let waiters: String = LIST.lines().filter(|line| line.contains("->")).map(|line| format!("{line}\n")).collect();
        assert_eq!(pid_of(&waiters, 41), None);
    }

    #[test]
    fn another_device_matters_only_if_the_inode_is_ambiguous() {
        let other = "1: FLOCK  ADVISORY  WRITE 7 00:2c:41 0 EOF\n";
        assert_eq!(pid_of(other, 41), Some(7));
        let both = format!("{other}{LIST}");
        assert_eq!(pid_of(&both, 41), Some(1500));
        let neither = format!("{other}2: FLOCK  ADVISORY  WRITE 8 00:2d:41 0 EOF\n");
        assert_eq!(pid_of(&neither, 41), None);
        // The device is hexadecimal: 10 is 16.
        assert_eq!(find(&both, (254, 16), 41).map(Pid::as_raw), Some(1500));
        assert_eq!(find(&both, (254, 10), 41), None);
    }

    #[test]
    fn numbers_that_are_not_pids_are_not_returned() {
        for pid in ["0", "-1", "-1450", "x", "99999999999"] {
            assert_eq!(pid_of(&format!("1: FLOCK  ADVISORY  WRITE {pid} fe:10:41 0 EOF\n"), 41), None, "{pid}");
        }
    }

    #[test]
    fn damaged_and_cut_lines_are_skipped() {
        let whole = "1: FLOCK  ADVISORY  WRITE 1450 fe:10:41 0 EOF\n";
        assert_eq!(pid_of("", 41), None);
        (0..whole.len()).for_each(|len| assert_eq!(pid_of(&whole[..len], 41), None, "{len}"));
        for file in ["<none>:0", "fe:10", "fe:10:", "zz:10:41", "fe:10:0x29"] {
            assert_eq!(pid_of(&format!("2: FLOCK  ADVISORY  WRITE 9 {file} 0 EOF\n{whole}"), 41), Some(1450), "{file}");
        }
    }
}

//! Exclusive file locks, flock(2), with a bounded wait.
//!
//! Owns the wait and the unlock. The storage of a server uses it.
//!
//! Invariants:
//!
//! - This module never opens, creates or removes a file. The caller does.
//! - No call blocks for longer than its patience and one pause of 5 ms.
//!
//! # Trap: a lock on an inherited descriptor excludes no other process
//!
//! A lock belongs to the open file description, and a forked child shares the descriptions of its parent. If a child
//! locks an inherited descriptor, its parent and its siblings can lock it as well. A child must therefore open the file
//! itself, after the fork.
//!
//! # Trap: std has methods with the names of `fs2`
//!
//! An inherent method wins over a trait method, without a warning: `file.unlock()` calls std, not `fs2`. This module
//! calls `FileExt::unlock(file)` with the full path, and no other module of this crate uses `fs2`.

use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use fs2::FileExt;

/// Tries that only yield the processor. The holder of a short lock usually releases it during these.
const YIELDS: u32 = 64;
/// First and longest pause between later tries. A blocking flock(2) would not be bounded, because no signal
/// [interrupts it](crate::signals#trap-no-signal-interrupts-a-blocking-call).
const PAUSE_FIRST: Duration = Duration::from_micros(20);
const PAUSE_LONGEST: Duration = Duration::from_millis(5);

/// The result of [`try_exclusive`] and [`keep_exclusive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// This open file description holds the lock.
    Locked,
    /// Another open file description holds the lock.
    Busy,
}

/// A lock that [`exclusive`] took. Dropping it unlocks the file.
#[derive(Debug)]
pub struct Guard<'a> {
    file: &'a File,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // An unlock of a valid descriptor cannot fail. If it did, closing the file would still release the lock.
        let _ = retry_interrupted(|| FileExt::unlock(self.file));
    }
}

/// Locks `file` exclusively. Returns `None` if another open file description still holds the lock after `patience`.
///
/// # Errors
/// Any error of flock(2) except EINTR and EWOULDBLOCK.
pub fn exclusive(file: &File, patience: Duration) -> io::Result<Option<Guard<'_>>> {
    let mut deadline = None;
    let mut tries = 0;
    let mut pause = PAUSE_FIRST;
    while try_exclusive(file)? == Attempt::Busy {
        let now = Instant::now();
        if now >= *deadline.get_or_insert(now + patience) {
            return Ok(None);
        }
        tries += 1;
        if tries <= YIELDS {
            thread::yield_now();
        } else {
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }
    Ok(Some(Guard { file }))
}

/// Tries once to lock `file` exclusively. Nothing unlocks it: the lock lasts as long as any process has this open file
/// description, so also as long as a child that inherited it lives.
///
/// # Errors
/// Any error of flock(2) except EINTR and EWOULDBLOCK.
pub fn try_exclusive(file: &File) -> io::Result<Attempt> {
    match retry_interrupted(|| FileExt::try_lock_exclusive(file)) {
        Ok(()) => Ok(Attempt::Locked),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Attempt::Busy),
        Err(e) => Err(e),
    }
}

/// As [`try_exclusive`], but waits for the lock, at most for `patience`.
///
/// # Errors
/// Any error of flock(2) except EINTR and EWOULDBLOCK.
pub fn keep_exclusive(file: &File, patience: Duration) -> io::Result<Attempt> {
    Ok(match exclusive(file, patience)? {
        Some(guard) => {
            // Without its drop, nothing unlocks the file.
            std::mem::forget(guard);
            Attempt::Locked
        }
        None => Attempt::Busy,
    })
}

fn retry_interrupted(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_open_file_gets_none_after_its_patience() {
        let path = std::env::temp_dir().join(format!("ipc-lock-{}", std::process::id()));
        let (one, other) = (File::create(&path).unwrap(), File::create(&path).unwrap());
        let guard = exclusive(&one, Duration::ZERO).unwrap();
        assert!(guard.is_some());
        assert!(exclusive(&other, Duration::from_millis(20)).unwrap().is_none());
        drop(guard);
        assert!(exclusive(&other, Duration::ZERO).unwrap().is_some());
        assert_eq!(keep_exclusive(&other, Duration::ZERO).unwrap(), Attempt::Locked);
        assert_eq!(keep_exclusive(&one, Duration::from_millis(20)).unwrap(), Attempt::Busy);
        std::fs::remove_file(path).unwrap();
    }
}

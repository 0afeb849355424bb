//! flock(2) with a bound.
//!
//! Owns the waiting and the unlocking. Used by the storage of the root crate, for its data lock and its server lock.
//! `fs2` is reached from this file alone, and by full path: recent versions of `std::fs::File` have methods of the same
//! names, which would be taken instead without a word.
//!
//! Trap: a lock belongs to the open file description. A child that locks a descriptor which it *inherited* excludes
//! neither its parent nor its siblings. Open after the fork what is to be locked.

use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use fs2::FileExt;

/// Tries that only give way to other processes: the holder of a short lock is most often done within them.
const YIELDS: u32 = 16;
/// First and longest pause between later tries. Sleeping instead of a blocking flock(2) keeps the wait bounded:
/// signal handlers are installed with SA_RESTART, so no signal would end it.
const PAUSE_FIRST: Duration = Duration::from_micros(20);
const PAUSE_LONGEST: Duration = Duration::from_millis(5);

/// The result of [`try_exclusive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// The file is locked now.
    Locked,
    /// Another open file description holds the lock.
    Busy,
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct Guard<'a> {
    file: &'a File,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Cannot fail on a descriptor that was just locked; closing the file would release it all the same.
        let _ = retry_interrupted(|| FileExt::unlock(self.file));
    }
}

/// Locks `file` exclusively; `None` where another process still holds it after `patience`.
///
/// # Errors
/// What flock(2) reports besides EINTR and EWOULDBLOCK.
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

/// Locks `file` exclusively if nobody else does, for as long as any process has this open file description; true if
/// it is locked now.
///
/// # Errors
/// What flock(2) reports besides EINTR and EWOULDBLOCK.
pub fn try_exclusive(file: &File) -> io::Result<Attempt> {
    match retry_interrupted(|| FileExt::try_lock_exclusive(file)) {
        Ok(()) => Ok(Attempt::Locked),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Attempt::Busy),
        Err(e) => Err(e),
    }
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
    fn a_second_open_file_waits_its_patience_and_is_told_so() {
        let path = std::env::temp_dir().join(format!("ipc-lock-{}", std::process::id()));
        let (one, other) = (File::create(&path).unwrap(), File::create(&path).unwrap());
        let guard = exclusive(&one, Duration::ZERO).unwrap();
        assert!(guard.is_some());
        assert!(exclusive(&other, Duration::from_millis(20)).unwrap().is_none());
        drop(guard);
        assert!(exclusive(&other, Duration::ZERO).unwrap().is_some());
        std::fs::remove_file(path).unwrap();
    }
}

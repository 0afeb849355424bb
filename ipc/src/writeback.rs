//! The early start of writes from the cache to the disk.
//!
//! Only an advice to the kernel, so that a later sync finds less to do. Knows nothing about the content of a file, and
//! never waits for the disk or replaces a sync.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::libc::{SYNC_FILE_RANGE_WRITE, sync_file_range};

/// Asks the kernel to begin to write the cached bytes of `file` in `range` to its disk. The bytes stay in the cache.
///
/// Nothing is known after it: the kernel may refuse the advice or fail to write, and each later sync of the file reports a
/// failed write as without this call. It may block for as long as the queue of the disk is full.
pub fn begin(file: &File, range: Range<u64>) {
    let len = range.end.saturating_sub(range.start);
    let (Ok(from), Ok(len @ 1..)) = (i64::try_from(range.start), i64::try_from(len)) else { return };
    // SAFETY: the call takes four numbers and no pointer, so it accesses no memory of this process. `file` keeps the
    // descriptor open.
    let _ = unsafe { sync_file_range(file.as_raw_fd(), from, len, SYNC_FILE_RANGE_WRITE) };
}

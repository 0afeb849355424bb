//! The early write of `bets.csv` to the disk.
//!
//! At [`Durability::End`], the sync of an end would find all bets of the lottery in the cache, and its client would wait for
//! all of them. So the kernel begins to write each block when it is complete. This is an advice: nothing depends on it.

use std::fs::File;
use std::io::Seek;
use std::ops::Range;

use ipc::writeback;

use crate::durability::Durability;

/// Bytes whose write begins at once: enough for a fast write, and few enough that a sync does not wait long for the last
/// ones.
const BLOCK: u64 = 4 * 1024 * 1024;

/// Begins to write the blocks of `bets` that this process has completed by its last append, of `len` bytes.
///
/// Only at [`Durability::End`]: at other levels each group is synced, or nothing is.
pub fn after_append(mut bets: &File, len: usize, durability: Durability) {
    if durability == Durability::End
        && let Ok(end) = bets.stream_position()
        && let Some(blocks) = completed(end, len as u64)
    {
        writeback::begin(bets, blocks);
    }
}

/// The blocks that `len` bytes before offset `end` complete; `None` if there is none.
fn completed(end: u64, len: u64) -> Option<Range<u64>> {
    let [from, to] = [end.saturating_sub(len), end].map(|offset| offset / BLOCK * BLOCK);
    (from < to).then_some(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write;

    #[test]
    fn each_block_is_completed_once() {
        let mut end = 0;
        let mut blocks = Vec::new();
        for len in [1, BLOCK - 2, 1, 1, BLOCK - 2, 2, 3 * BLOCK - 1, 0, 1] {
            end += len;
            blocks.extend(completed(end, len));
        }
        assert_eq!(blocks, [0..BLOCK, BLOCK..2 * BLOCK, 2 * BLOCK..5 * BLOCK]);
        assert_eq!(completed(0, 5), None);
    }

    #[test]
    fn the_position_after_an_append_is_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let [mut one, mut other] = [0, 1].map(|_| OpenOptions::new().append(true).open(file.path()).unwrap());
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
        one.write_all(b"one").unwrap();
        assert_eq!([one, other].map(|mut file| file.stream_position().unwrap()), [11, 8]);
    }

    #[test]
    fn bytes_and_errors_are_as_without_the_advice() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes = vec![b'x'; BLOCK as usize + 1];
        file.write_all(&bytes).unwrap();
        for durability in [Durability::Process, Durability::End, Durability::Batch] {
            after_append(&file, bytes.len(), durability);
        }
        file.sync_data().unwrap();
        assert_eq!(file.metadata().unwrap().len(), BLOCK + 1);
        let (pipe, _other) = std::io::pipe().unwrap();
        after_append(&File::from(std::os::fd::OwnedFd::from(pipe)), bytes.len(), Durability::End);
    }
}

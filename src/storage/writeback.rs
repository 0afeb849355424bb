//! The early write of `bets.csv` to the disk.
//!
//! At [`Durability::End`], the sync of an end would find all bets of the lottery in the cache, and its client would wait for
//! all of them. So the kernel begins to write each block when it is complete. This is an advice: nothing depends on it.

use std::fs::File;
use std::ops::Range;

use ipc::writeback;

use crate::durability::Durability;

/// Bytes whose write begins at once: enough for a fast write, and few enough that a sync does not wait long for the last
/// ones.
const BLOCK: u64 = 4 * 1024 * 1024;

/// Begins to write the blocks of `bets` that the rows at these `appended` offsets have completed.
///
/// Only at [`Durability::End`]: at other levels each group is synced, or nothing is.
pub fn after_append(bets: &File, appended: Range<u64>, durability: Durability) {
    if durability == Durability::End
        && let Some(blocks) = completed(appended)
    {
        writeback::begin(bets, blocks);
    }
}

/// The blocks that bytes at these offsets complete; `None` if there is none.
fn completed(Range { start, end }: Range<u64>) -> Option<Range<u64>> {
    let [from, to] = [start, end].map(|offset| offset / BLOCK * BLOCK);
    (from < to).then_some(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_completed_once() {
        let mut end = 0;
        let mut blocks = Vec::new();
        for len in [1, BLOCK - 2, 1, 1, BLOCK - 2, 2, 3 * BLOCK - 1, 0, 1] {
            blocks.extend(completed(end..end + len));
            end += len;
        }
        assert_eq!(blocks, [0..BLOCK, BLOCK..2 * BLOCK, 2 * BLOCK..5 * BLOCK]);
        assert_eq!(completed(5..5), None);
    }
}

//! The identity of a file.
//!
//! Trap: a file can be moved away or replaced while a process has it open. If that process locks its open file, other
//! processes can still lock the other file that the path names now. So a child compares the files that it opens with those
//! of its parent, and a start compares the file that it has locked with its path.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Device and inode. All names of one file have the same identity; no two files have the same identity at the same
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// `st_dev` of stat(2).
    pub device: u64,
    /// `st_ino` of stat(2).
    pub inode: u64,
}

impl Identity {
    /// The identity of the file that `metadata` describes.
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

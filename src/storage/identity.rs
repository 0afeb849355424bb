//! The identity of a file, and the check that a path still names an open file.
//!
//! Used by `record`, `files` and `commit`. Knows no format.
//!
//! Trap: a file can be moved away or replaced while a process has it open. If that process locks its open file, other
//! processes can still lock the other file that the path names now. So every writer compares its open file with the
//! path.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::{Error, Result};

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

/// Checks that `path` still names the open `file`.
///
/// # Errors
/// [`Error::Replaced`] if `path` names another file; [`Error::Io`] if stat(2) fails, for example because `path` names
/// no file.
pub fn check_in_place(file: &File, path: &Path) -> Result<()> {
    let [own, named] = [file.metadata(), path.metadata()].map(|found| found.map_err(Error::io("stat", path)));
    match Identity::of(&own?) == Identity::of(&named?) {
        true => Ok(()),
        false => Err(Error::Replaced { path: path.to_owned() }),
    }
}

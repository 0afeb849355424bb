//! Which file a name refers to.
//!
//! Trap: a process that locks a file which was moved away or replaced does not exclude processes that open the path. So
//! every writer compares the file that it has open with the file that the path names.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::{Error, Result};

/// Device and inode: the same for two names of one file, and unique while the file exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The device.
    pub device: u64,
    /// The inode.
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
/// [`Error::Replaced`] if it names another file; [`Error::Io`] if there is none.
pub fn check_in_place(file: &File, path: &Path) -> Result<()> {
    let [own, named] = [file.metadata(), path.metadata()].map(|found| found.map_err(Error::io("stat", path)));
    match Identity::of(&own?) == Identity::of(&named?) {
        true => Ok(()),
        false => Err(Error::Replaced { path: path.to_owned() }),
    }
}

//! A temporary directory per thread for the files that the parsers read.
//!
//! It is created once per thread, in `TMPDIR`. That should be in memory: otherwise the disk takes most of the time.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static DIRECTORY: TempDir = tempfile::tempdir().unwrap();
}

/// The path of `name` in this thread's directory.
pub fn path(name: impl AsRef<Path>) -> PathBuf {
    DIRECTORY.with(|directory| directory.path().join(name))
}

/// Writes `bytes` to the file `name` in this thread's directory. Returns its path.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

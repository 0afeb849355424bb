//! One directory a thread for the files that the readers read; made anew only when the thread is. `TMPDIR` says where:
//! in memory, or this is what takes the time.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static DIRECTORY: TempDir = tempfile::tempdir().unwrap();
}

/// The path of `name` in this thread's directory.
pub fn path(name: impl AsRef<Path>) -> PathBuf {
    DIRECTORY.with(|directory| directory.path().join(name))
}

/// `name` in this thread's directory, holding `bytes`.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

//! `--new-draw`: sets the files of an earlier lottery aside, and begins a new one.
//!
//! | step | remains if the process dies after this step |
//! |---|---|
//! | link each file to a name with the date | the old lottery, with second names |
//! | make a new `bets.csv`, lock it, and rename it over the old one | files that a start refuses; the command can be repeated |
//! | remove the other files, `draw` last | a new lottery |
//!
//! A file that is a mount of its own cannot be linked or renamed. The first step finds that, before anything has moved. Where
//! files cannot be linked for another reason, they are renamed instead, `bets.csv` first: a start refuses the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::error::{Error, Result};
use super::files::{remove_if_there, sync_directory};
use super::lifelock::{self, LifeLock};
use super::paths::{Paths, replacement, with_suffix};

/// Sets the files aside under the life lock. Returns the lock of the new `bets.csv`, and the new names of the old files.
///
/// # Errors
/// [`Error::NotMovable`] if a file cannot be linked, and then nothing has moved; [`Error::Io`] if another system call fails.
pub fn set_aside(paths: &Paths, lock: LifeLock) -> Result<(LifeLock, Vec<PathBuf>)> {
    let stamp = chrono::Local::now().format("%Y%m%d-%H%M%S").to_string();
    let older = &paths.older;
    // In the order of their removal: without `draw`, a killed command would seem to leave a lottery of another program.
    let files = [&paths.bets, &paths.rejected, &older.record, &older.ends, &paths.books, &paths.draw];
    let mut there = Vec::new();
    for path in files {
        if len(path)? > 0 {
            there.push((path.as_path(), free_name(path, &stamp)));
        }
    }
    link_or_rename(&there)?;
    let lock = new_bets(paths, lock)?;
    files.into_iter().skip(1).try_for_each(|path| remove_if_there(path))?;
    sync_directory(&paths.bets)?;
    Ok((lock, there.into_iter().map(|(_, aside)| aside).collect()))
}

/// Links every file to its second name. If the file system or a rule of the kernel does not allow that (EPERM), renames
/// them.
fn link_or_rename(files: &[(&Path, PathBuf)]) -> Result<()> {
    match link_all(files) {
        Err(Error::NotMovable { source, .. }) if source.raw_os_error() == Some(Errno::EPERM as i32) => {
            rename_all(files)
        }
        linked => linked,
    }
}

/// Renames every file to its second name, or none.
fn rename_all(files: &[(&Path, PathBuf)]) -> Result<()> {
    for (index, (path, aside)) in files.iter().enumerate() {
        if let Err(e) = fs::rename(path, aside) {
            for (path, aside) in &files[..index] {
                // If this fails, too, a start refuses the files.
                let _ = fs::rename(aside, path);
            }
            return Err(Error::io("rename", path)(e));
        }
    }
    Ok(())
}

/// Links every file to its second name, or none.
fn link_all(files: &[(&Path, PathBuf)]) -> Result<()> {
    for (index, (path, aside)) in files.iter().enumerate() {
        if let Err(source) = fs::hard_link(path, aside) {
            for (_, linked) in &files[..index] {
                // The old name is still there, so this removes only a second name.
                let _ = fs::remove_file(linked);
            }
            return Err(Error::NotMovable { path: (*path).to_owned(), source });
        }
    }
    Ok(())
}

/// Puts an empty file in the place of `bets.csv`. It is locked before any other process can open it by that name.
fn new_bets(paths: &Paths, old: LifeLock) -> Result<LifeLock> {
    let new = replacement(&paths.bets);
    let bets = lifelock::make_locked(&new, &paths.bets)?;
    fs::rename(&new, &paths.bets).map_err(Error::io("rename", &new))?;
    sync_directory(&paths.bets)?;
    Ok(old.moved_to(bets))
}

/// The length of a file; 0 if it does not exist.
fn len(path: &Path) -> Result<u64> {
    match path.metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        found => Ok(found.map_err(Error::io("stat", path))?.len()),
    }
}

/// The first name of `PATH.STAMP`, `PATH.STAMP-2`, `PATH.STAMP-3`, … that is not taken.
pub fn free_name(path: &Path, stamp: &str) -> PathBuf {
    let plain = with_suffix(path, &format!(".{stamp}"));
    let numbered = (2_u64..).map(|n| with_suffix(path, &format!(".{stamp}-{n}")));
    let is_free = |name: &PathBuf| matches!(name.symlink_metadata(), Err(e) if e.kind() == io::ErrorKind::NotFound);
    std::iter::once(plain).chain(numbered).find(is_free).expect("a directory holds fewer than 2^64 names")
}

//! The files of an older version of this server.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::files::open_if_there;
use super::paths::Paths;
use super::reader::Range;

/// The first bytes of the older `bets.lock`, `ends` and `draw`. The last byte of the first one is 1 or a question mark.
const RECORD: &[u8] = b"LOTBETS";
const ENDS: &[u8] = b"FIN1";
const DRAW: &[u8] = b"LOTDRAW1";

/// The first file of an older version that is there, if any.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read.
pub fn found(paths: &Paths) -> Result<Option<PathBuf>> {
    for (path, magic) in [(&paths.older.record, RECORD), (&paths.older.ends, ENDS), (&paths.draw, DRAW)] {
        if begins_with(path, magic)? {
            return Ok(Some(path.clone()));
        }
    }
    Ok(None)
}

fn begins_with(path: &Path, magic: &[u8]) -> Result<bool> {
    let front = open_if_there(path)?.map(|file| Range::new(&file, 0, magic.len() as u64).up_to_end());
    let front = front.transpose().or_else(|e| match e.kind() {
        // A directory is not a file of an older version.
        io::ErrorKind::IsADirectory => Ok(None),
        _ => Err(Error::io("read", path)(e)),
    })?;
    Ok(front.is_some_and(|front| front == magic))
}

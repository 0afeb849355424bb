//! The identity of the current boot of the machine.
//!
//! Pages that were written but not synced survive a killed process, and not a reboot. So a file that its writers do not
//! sync is believed only in the boot that wrote it.

use std::fs;
use std::io;
use std::path::Path;

use super::error::{Error, Result};

/// The file in which the kernel identifies the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A boot id: a UUID as text.
pub type Boot = [u8; 36];

/// The current boot; `None` if the kernel does not identify it: some containers and systems hide the file. A failed read
/// is not the same, because the books of this boot would not be believed, and a tail past their committed length would
/// count.
///
/// # Errors
/// [`Error::Io`] if the file exists and cannot be read.
pub fn current() -> Result<Option<Boot>> {
    match fs::read(BOOT_ID) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        id => Ok(id.map_err(Error::io("read", Path::new(BOOT_ID)))?.first_chunk().copied()),
    }
}

//! The errors of the settings.
//!
//! Used by both programs, which show the error as one line. Each error names the key or the file.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

/// Why the settings cannot be used. The text may quote the file, line breaks included;
/// [`complain`](crate::logging::complain) makes one line of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A settings file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The settings file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A settings file has a syntax error or an unknown key.
    #[error("{path}: {defect}", path = path.display())]
    Form {
        /// The settings file.
        path: PathBuf,
        /// The position and the defect.
        defect: String,
    },
    /// A value is not allowed.
    #[error("{key}: {value:?} is not allowed, it must be {allowed} (set in {origin})")]
    Value {
        /// The key, as its file or variable writes it.
        key: String,
        /// The value as it was found; bytes that are not UTF-8 are replaced.
        value: String,
        /// A description of the allowed values.
        allowed: String,
        /// The file or the variable that sets the value.
        origin: String,
    },
    /// A setting without default is missing.
    #[error("{key} is not set: give it as {variable} in the environment or as {key} in the file; it must be {allowed}")]
    Missing {
        /// The key in the file.
        key: String,
        /// The name of the environment variable.
        variable: String,
        /// A description of the allowed values.
        allowed: String,
    },
}

impl Error {
    /// [`Error::Value`], for a value that need not be UTF-8.
    pub(super) fn value(key: &str, value: &OsStr, allowed: &str, origin: impl Into<String>) -> Self {
        let value = value.to_string_lossy().into_owned();
        Self::Value { key: key.into(), value, allowed: allowed.into(), origin: origin.into() }
    }
}

//! Settings: environment beats file, file beats default.
//!
//! Owns the two files' forms and the meaning of every key. Used by the binaries; nothing below them reads the
//! environment. Whatever is wrong is one [`Error`] that names the key, its value and what is allowed.

pub mod client;
mod duration;
mod ini;
pub mod server;
mod yaml;

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use duration::parse as parse_duration;

/// What is wrong with a setting. It may quote the file: [`complain`](crate::logging::complain) makes one line of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that was asked for cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not of its form, or has a key that does not exist.
    #[error("{path}: {what}", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        what: String,
    },
    /// A value is not allowed.
    #[error("{key}: {value:?} is not allowed, it must be {allowed} (set in {origin})")]
    Value {
        /// The key, as it is written where it was set.
        key: String,
        /// Its value.
        value: String,
        /// What would be.
        allowed: String,
        /// Where it was set.
        origin: String,
    },
    /// A setting without default is not there.
    #[error("{key} is not set: give it as {variable} in the environment or as {key} in the file; it must be {allowed}")]
    Missing {
        /// The key.
        key: String,
        /// Its variable.
        variable: String,
        /// What is allowed.
        allowed: String,
    },
}

impl Error {
    fn value(key: &str, value: &OsStr, allowed: &str, origin: impl Into<String>) -> Self {
        let value = value.to_string_lossy().into_owned();
        Self::Value { key: key.into(), value, allowed: allowed.into(), origin: origin.into() }
    }
}

/// The settings of one program, still as text.
#[derive(Debug)]
struct Settings {
    file: BTreeMap<String, String>,
    path: PathBuf,
    variable: fn(&str) -> String,
}

impl Settings {
    /// What `key` is set to and where; an empty variable counts as unset.
    fn find(&self, key: &str) -> Option<(OsString, String)> {
        let variable = (self.variable)(key);
        match env::var_os(&variable).filter(|value| !value.is_empty()) {
            Some(value) => Some((value, format!("variable {variable}"))),
            None => self.file.get(key).map(|value| (value.into(), self.path.display().to_string())),
        }
    }

    /// `key` read by `parse`; `None` where it is not set.
    fn optional<T>(&self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let Some((value, origin)) = self.find(key) else { return Ok(None) };
        value.to_str().and_then(parse).map(Some).ok_or_else(|| Error::value(key, &value, allowed, origin))
    }

    /// `key` read by `parse`, or `default`.
    fn get<T>(&self, key: &str, default: T, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        Ok(self.optional(key, allowed, parse)?.unwrap_or(default))
    }

    /// `key` read by `parse`; it has no default.
    fn required<T>(&self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.optional(key, allowed, parse)?.ok_or_else(|| Error::Missing {
            key: key.to_owned(),
            variable: (self.variable)(key),
            allowed: allowed.to_owned(),
        })
    }
}

/// A file's text: `None` where the default file is not there; a file that was named must be.
fn read(named: Option<&Path>, default: &str) -> Result<(PathBuf, Option<String>), Error> {
    let path = named.unwrap_or(Path::new(default)).to_owned();
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, Some(text))),
        Err(e) if e.kind() == io::ErrorKind::NotFound && named.is_none() => Ok((path, None)),
        Err(source) => Err(Error::Unreadable { path, source }),
    }
}

/// A whole number within `range`, digits alone.
fn number<T: TryFrom<u32> + PartialOrd>(range: std::ops::RangeInclusive<T>) -> impl Fn(&str) -> Option<T> {
    move |text| {
        let number = T::try_from(crate::bet::decimal(text.as_bytes())?).ok()?;
        range.contains(&number).then_some(number)
    }
}

/// What [`parse_duration`] allows.
const DURATION: &str = "a duration like 5s, 150ms or 1m30s";
